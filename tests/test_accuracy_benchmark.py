"""benchmarks.accuracy: what it measures, and the tables that it writes."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.accuracy import pictures, report
from benchmarks.accuracy.__main__ import PAGE
from benchmarks.accuracy.measure import Measured, Row, check, claims, measure
from benchmarks.accuracy.quantizers import by_onnxruntime, by_preset
from benchmarks.accuracy.suite import real_tasks
from benchmarks.accuracy.tasks import Feed, Figure, Task, agreement, noise, psnr, top1

OUTPUTS = [np.array([[1.0, 2], [4, 3], [5, 6]])]
needs_shared = pytest.mark.skipif(not pictures.SHARED.exists(), reason="needs ../shared/models")


def test_page_has_the_place_for_the_tables() -> None:
    assert PAGE.read_text().count(report.BEGIN) == PAGE.read_text().count(report.END) == 1


def test_tables_replace_those_that_were_there(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write(page, "new")
    assert page.read_text() == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"


def test_page_without_markers_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text")
    with pytest.raises(ValueError, match="expected the lines"):
        report.write(page, "new")
    assert page.read_text() == "text"


def test_top1_counts_labels() -> None:
    assert top1(np.array([1, 0, 0])).score(OUTPUTS, []) == pytest.approx(200 / 3)


def test_agreement_counts_the_float_models_classes() -> None:
    assert agreement(OUTPUTS, [np.array([[0, 1], [0, 1], [0, 1]])]) == pytest.approx(200 / 3)


def test_psnr_is_of_images_up_to_1() -> None:
    assert psnr([np.full(4, 0.6)], [np.full(4, 0.5)]) == pytest.approx(20)


def test_noise_of_parts_is_relative_to_each_ones_power() -> None:
    reference = [np.array([100.0, 1.0])]
    task = Task("t", [], model, list, list, lambda out: [out[0][:1], out[0][1:]])
    assert noise(task, [np.array([100.0, 1.5])], reference) == pytest.approx(0.25 / 2)


def test_demands_on_a_preset_are_named_where_they_are_missed() -> None:
    row = Row(
        Task("t", [Figure("top-1 %", agreement, allowed=0.3)], model, list, list),
        (
            Measured("float", {"top-1 %": 90.0}, 0.0),
            Measured("ORT MinMax", {"top-1 %": 89.8}, 0.01),
            Measured("ORT Entropy", {}, math.nan, wrong="fails"),
            Measured("good", {"top-1 %": 89.8}, 0.01),
            Measured("bad", {"top-1 %": 89.6}, 0.02),
        ),
    )
    assert report.missed([row], "good") == []
    assert report.missed([row], "bad") == [
        "t, top-1 %: 89.60, float has 90.00",
        "t, top-1 %: 89.60, ORT MinMax has 89.80",
        "t: 17.0 dB, ORT MinMax has 20.0 dB",
    ]


def model() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("Relu", ["c"], ["r"], "relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["y"], "pool"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 1, 1])],
        [numpy_helper.from_array(random.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def samples(seed: int) -> Iterator[Feed]:
    random = np.random.default_rng(seed)
    for _ in range(8):
        yield {"x": random.normal(size=(1, 3, 8, 8)).astype(np.float32)}


def test_quantizers_are_measured_side_by_side(tmp_path: Path) -> None:
    def broken(_: onnx.ModelProto, data: Iterable[Feed]) -> onnx.ModelProto:
        raise RuntimeError("out of order")

    task = Task(
        "t", [Figure("agreement %", agreement)], model, lambda: samples(0), lambda: samples(1)
    )
    row = measure(
        task,
        {
            "ORT MinMax": lambda model, data: by_onnxruntime(model, data, "MinMax"),
            "default": lambda model, data: by_preset(model, data, "default"),
            "broken": broken,
        },
        tmp_path,
    )
    theirs, ours, none = row.results[1:]
    assert theirs.snr > 25
    assert ours.snr > 25
    assert (ours.partitions, ours.on_cpu, ours.wrong) == (1, {}, "")
    assert none.wrong == "RuntimeError: out of order"
    table = report.tables([row])
    assert "| t | agreement % |  |" in table
    assert "broken: RuntimeError: out of order" in table
    assert len(list(tmp_path.iterdir())) == 1  # what ONNX Runtime made is kept


def test_nodes_on_the_cpu_are_told_with_the_reason() -> None:
    quantized = by_preset(model(), samples(0), "default")
    node = helper.make_node("Det", ["y"], ["z"], "determinant")
    quantized.graph.node.append(node)
    del quantized.graph.output[:]
    quantized.graph.output.append(onnx.ValueInfoProto(name="z"))
    partitions, on_cpu = claims(quantized)
    assert partitions == 1
    assert set(on_cpu) == {"Det determinant"}
    assert all(on_cpu.values())


def test_invalid_model_is_told() -> None:
    broken = model()
    broken.graph.node[1].input[0] = "nothing"
    assert check(broken, []).startswith("onnx.checker:")


@needs_shared
def test_images_to_calibrate_on_are_not_those_of_the_test() -> None:
    for task in real_tasks(limit=50):
        calibration = {array.tobytes() for feed in task.calibration() for array in feed.values()}
        assert len(calibration) >= 90
        assert not any(a.tobytes() in calibration for f in task.test() for a in f.values())

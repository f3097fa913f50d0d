"""``furiosa quantize``."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import furiosa_ep
from furiosa_ep.cli.main import main
from furiosa_ep.quantization import QuantizationError, quantize_model
from furiosa_ep.quantization.array_files import ArrayFiles


def float_model(batch: int | str = 1) -> onnx.ModelProto:
    """Conv and Relu on 3x8x8."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def arrays(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a float model and samples in every form."""
    monkeypatch.chdir(tmp_path)
    onnx.save(float_model(), "model.onnx")
    np.savez("all.npz", x=arrays(6), labels=np.arange(6))
    np.save("all.npy", arrays(6)[:, None])
    for name in ("npy", "npz"):
        Path(name).mkdir()
    for number, array in enumerate(arrays(6)):
        np.save(f"npy/{number}.npy", array)
        np.savez(f"npz/{number}.npz", x=array[None])
    Path("npy/notes.txt").write_text("no sample")
    return tmp_path


@pytest.mark.parametrize("data", ["all.npz", "all.npy", "npy", "npz"])
def test_samples_of_every_form_give_the_same_model(folder: Path, data: str) -> None:
    assert main(["quantize", "model.onnx", "--calibration", data, "-o", "out.onnx"]) == 0
    assert onnx.load("out.onnx") == quantize_model("model.onnx", list(arrays(6)[:, None]))


def test_what_was_done_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantize", "model.onnx", "--calibration", "npy", "-o", "out.onnx"]) == 0
    shown = capsys.readouterr().out
    assert "preset     default, calibrator mse, 6 samples" in shown
    assert "quantized  1 of 1 operators, 2 values, 2 constants" in shown
    assert "NPU        " in shown
    assert "cannot be asked" not in shown
    assert "furiosa verify out.onnx" in shown
    assert "WARNING" not in shown


def test_json_has_what_the_npu_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--calibration", "npy", "--limit", "4", "--output-type", "y=int8"]
    assert main(["quantize", "model.onnx", *arguments, "-o", "out.onnx", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    report = furiosa_ep.explain("out.onnx")
    assert found["samples"] == 4
    assert found["bytes"] == Path("out.onnx").stat().st_size
    assert found["npu"]["units"] == len(report.units)
    assert found["npu"]["partitions"] == len(report.partitions)
    left = [unit for unit in report.units if unit.decline is not None]
    assert sum(reason["count"] for reason in found["npu"]["on_cpu"]) == len(left)


def test_what_stays_on_the_cpu_is_told_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = float_model()
    model.graph.node.append(helper.make_node("Det", ["y"], ["d"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("d", TensorProto.FLOAT, [1, 4]))
    onnx.save(model, "det.onnx")
    assert main(["quantize", "det.onnx", "--calibration", "npy", "-o", "out.onnx"]) == 0
    shown = capsys.readouterr().out
    assert "CPU        1 x Det (not-registered): " in shown


def test_nodes_stay_in_float_as_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--calibration", "npy", "--keep-float", "y*", "-o", "out.onnx"]
    assert main(["quantize", "model.onnx", *arguments]) == 0
    assert "quantized  0 of" in capsys.readouterr().out
    assert main(["quantize", "model.onnx", *arguments, "--keep-float", "z"]) == 2
    assert "keep_float 'z'" in capsys.readouterr().err


def test_random_samples_come_with_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(float_model("batch"), "open.onnx")
    arguments = ["--random", "3", "--shape", "x=2,3,8,8"]
    assert main(["quantize", "open.onnx", *arguments, "-o", "out.onnx"]) == 0
    assert "WARNING    the samples were random" in capsys.readouterr().out


def test_what_was_searched_and_left_in_float_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", "model.onnx", "--calibration", "npy", "-o", "out.onnx"]
    assert main([*command, "--preset", "best", "--max-loss", "1e-9"]) == 0
    shown = capsys.readouterr().out
    assert "of the power of the outputs" in shown
    assert "float      2 nodes (" in shown
    assert main([*command, "--max-loss", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["loss"] < 0.5
    assert found["in_float"] == {}
    assert found["options"]["adapt_rounding"] is True
    assert main([*command, "--max-loss", "0"]) == 2
    assert "max_loss 0.0: expected a number above 0" in capsys.readouterr().err


def test_ranges_are_written_and_taken(folder: Path) -> None:
    data = ["--calibration", "npy", "--calibrator", "average", "--preset", "min-max"]
    saved = [*data, "--save-ranges", "ranges.json", "-o", "first.onnx"]
    assert main(["quantize", "model.onnx", *saved]) == 0
    ranges = json.loads(Path("ranges.json").read_text())
    assert sorted(ranges) == ["x", "y"]
    given = ["--ranges", "ranges.json", "--preset", "min-max", "-o", "second.onnx"]
    assert main(["quantize", "model.onnx", *given]) == 0
    assert onnx.load("first.onnx").graph == onnx.load("second.onnx").graph


def test_borders_become_integers(folder: Path) -> None:
    types = ["--input-type", "x=uint8", "--output-type", "y=int8"]
    data = ["--calibration", "npy", "-o", "out.onnx"]
    assert main(["quantize", "model.onnx", *data, *types]) == 0
    graph = onnx.load("out.onnx").graph
    borders = (graph.input[0], graph.output[0])
    kinds = [value.type.tensor_type.elem_type for value in borders]
    assert kinds == [TensorProto.UINT8, TensorProto.INT8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.onnx"], "nothing to calibrate with"),
        (["missing.onnx", "--random", "1"], "no model file missing.onnx"),
        (["model.onnx", "--calibration", "missing"], "cannot read missing"),
        (["model.onnx", "--calibration", "empty"], "no images in empty"),
        (["model.onnx", "--calibration", "npy", "--random", "1"], "not both"),
        (["model.onnx", "--random", "1", "--preset", "worst"], "preset 'worst'"),
        (["model.onnx", "--random", "1", "--calibrator", "luck"], "calibration 'luck'"),
        (["model.onnx", "--random", "1", "--input-type", "z=uint8"], "no input 'z'"),
        (["model.onnx", "--random", "1", "--shape", "x=1,3,9,9"], "does not fit"),
        (["model.onnx", "--ranges", "all.npz"], "cannot read the ranges"),
    ],
)
def test_wrong_input_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("empty").mkdir()
    assert main(["quantize", *arguments, "-o", "out.onnx"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out.onnx").exists()


@pytest.mark.parametrize("argument", ["--limit=0", "--random=-1", "--input-type=x=float"])
def test_wrong_usage_is_told(folder: Path, argument: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["quantize", "model.onnx", "--calibration", "npy", "-o", "out.onnx", argument])


def test_batches_are_cut_from_a_stack(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", arrays(5))
    samples = ArrayFiles(tmp_path / "x.npy", float_model(2).graph.input)
    assert [sample["x"].shape for sample in samples] == [(2, 3, 8, 8)] * 2
    assert len(samples) == 2
    np.testing.assert_array_equal(list(samples)[1]["x"], arrays(5)[2:4])


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    inputs = [
        helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 2]),
        helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 2]),
    ]
    np.savez(tmp_path / "x.npz", a=np.zeros((3, 2)), b=np.zeros((4, 2)))
    with pytest.raises(QuantizationError, match="a 3, b 4"):
        ArrayFiles(tmp_path / "x.npz", inputs)
    np.savez(tmp_path / "y.npz", a=np.zeros((3, 2)), c=np.zeros((3, 2)))
    with pytest.raises(QuantizationError, match="the arrays a, c, the model has the inputs a, b"):
        ArrayFiles(tmp_path / "y.npz", inputs)
    np.save(tmp_path / "z.npy", np.zeros((3, 2)))
    with pytest.raises(QuantizationError, match="has 1 array, the model"):
        ArrayFiles(tmp_path / "z.npy", inputs)
    (tmp_path / "w.npz").write_bytes(b"PK")
    with pytest.raises(QuantizationError, match="cannot read"):
        ArrayFiles(tmp_path / "w.npz", inputs)

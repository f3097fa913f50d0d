"""Calibration: the built-in calibrators and those of plugins, fed sample by sample."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from furiosa_ep.partitioner import plugins
from furiosa_ep.partitioner.descriptors import Calibrator, PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.quantization import (
    PRESETS,
    Preset,
    QuantizationError,
    calibrate,
    quantize_model,
)
from furiosa_ep.quantization.prepare import prepare_model
from furiosa_ep.quantization.probes import AT_ONCE

ROOT = Path(__file__).resolve().parents[2]
Array = npt.NDArray[np.float32]
Offer = Callable[[Callable[[], Any]], None]

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n,4] x, float[n,4] b) => (float[n,4] y) <float[4,4] w = {%s}> {
    m = MatMul(x, w)
    s = Mul(m, b)
    y = Sigmoid(s)
}
""" % ",".join(str(i / 10) for i in range(-8, 8))  # noqa: UP031  # the model is full of braces
VALUES = {"x", "b", "m", "s"}


def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(MODEL)


def samples(count: int = 5, **changes: Array) -> list[dict[str, Array]]:
    random = np.random.default_rng(4)
    feeds = [
        {name: random.normal(size=(2, 4)).astype(np.float32) for name in ("x", "b")}
        for _ in range(count)
    ]
    feeds[0] |= changes
    return feeds


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Makes a calibrator `mine` of a plugin `acme` available."""

    def offer(collector: Callable[[], Any]) -> None:
        class Plugin:
            @hookimpl
            def furiosa_plugin(self) -> PluginInfo:
                return PluginInfo("acme", "1")

            @hookimpl
            def furiosa_calibrators(self) -> list[Calibrator]:
                return [Calibrator("mine", collector)]

        registry = build_registry({"acme": Plugin()})
        monkeypatch.setattr(plugins, "registry", lambda: registry)

    return offer


class Fixed:
    """A collector whose parts can be replaced."""

    def collect(self, array: Array) -> None:
        pass

    def range(self) -> Any:
        return -2.0, 3.1


def ranges_of_onnx_runtime(
    proto: onnx.ModelProto, feeds: list[dict[str, Array]], average: bool
) -> dict[str, tuple[float, float]]:
    """What ONNX Runtime's own calibrator finds; a range here has zero in it."""
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader:
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    onnx.save(prepare_model(proto), "prepared.onnx")
    calibrator = create_calibrator(
        "prepared.onnx",
        augmented_model_path="augmented.onnx",
        extra_options={"moving_average": average},
    )
    calibrator.collect_data(Reader())
    return {
        name: (min(data.lowest.item(), 0.0), max(data.highest.item(), 0.0))
        for name, data in calibrator.compute_data().items()
        if hasattr(data, "lowest")
    }


CONV = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1,3,8,8] x) => (float[1,3,4,4] y, float[1,3,8,8] r)
<float[3,3,1,1] w = {1.5,-2,0.3,0.7,0.2,-0.9,1,1.1,-0.4}, float[3] b = {0.1,-0.2,0.3}> {
    c = Conv(x, w, b)
    r = Relu(c)
    p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
    y = Softmax<axis=1>(p)
}
"""


@pytest.mark.parametrize("calibration", ["extremes", "average"])
@pytest.mark.parametrize("count", [1, 11, 70])
@pytest.mark.parametrize("text", [MODEL, CONV], ids=["MatMul", "Conv"])
def test_built_in_calibrators_find_what_onnx_runtime_s_own_finds(
    text: str, count: int, calibration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    proto = onnx.parser.parse_model(text)
    feeds = samples(count)
    if text == CONV:
        random = np.random.default_rng(5)
        feeds = [{"x": random.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(count)]
    found = calibrate(proto, feeds, calibration)
    expected = ranges_of_onnx_runtime(proto, feeds, calibration == "average")
    assert len(found) >= 2
    for name, ends in found.items():
        assert ends == pytest.approx(expected[name], rel=1e-6), name


def test_a_plugin_s_calibrator_is_used_by_name(offer: Offer) -> None:
    offer(Fixed)
    quantized = quantize_model(model(), samples(), Preset(calibration="mine"))
    node = next(
        n for n in quantized.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "x"
    )
    (scale,) = (i for i in quantized.graph.initializer if i.name == node.input[1])
    assert numpy_helper.to_array(scale) == np.float32(5.1) / np.float32(255)


def test_each_value_of_each_sample_goes_to_its_own_collector(offer: Offer) -> None:
    seen: list[list[Array]] = []

    class Keeping(Fixed):
        def __init__(self) -> None:
            self.arrays: list[Array] = []
            seen.append(self.arrays)

        def collect(self, array: Array) -> None:
            self.arrays.append(array)

    offer(Keeping)
    feeds = samples(3)
    quantize_model(model(), feeds, Preset(calibration="mine"))
    assert len(seen) == len(VALUES)
    assert all(len(arrays) == 3 for arrays in seen)
    assert all(array.dtype == np.float32 and array.shape == (2, 4) for a in seen for array in a)
    (of_x,) = (arrays for arrays in seen if np.array_equal(arrays[0], feeds[0]["x"]))
    assert np.array_equal(np.stack(of_x), np.stack([feed["x"] for feed in feeds]))


def test_no_more_samples_are_taken_than_run_at_a_time(offer: Offer) -> None:
    taken = 0
    ahead = []

    class Telling(Fixed):
        def __init__(self) -> None:
            self.collected = 0

        def collect(self, array: Array) -> None:
            ahead.append(taken - self.collected)
            self.collected += 1

    def generate() -> Iterator[dict[str, Array]]:
        nonlocal taken
        for feed in samples(20):
            taken += 1
            yield feed

    offer(Telling)
    calibrate(model(), generate(), "mine")
    assert len(ahead) == 20 * len(VALUES)
    assert max(ahead) <= AT_ONCE + 1


def test_samples_may_share_their_memory() -> None:
    def generate() -> Iterator[dict[str, Array]]:
        shared: dict[str, Array] = {}
        for feed in samples(20):
            for name, array in feed.items():
                shared.setdefault(name, array)[...] = array
            yield shared

    assert calibrate(model(), generate()) == calibrate(model(), samples(20))


def test_the_calibrator_is_that_of_the_default_preset_if_none_is_given() -> None:
    cubes = np.random.default_rng(0).normal(size=(20, 2, 1000, 4)).astype(np.float32) ** 3
    data = [{"x": x, "b": b} for x, b in cubes]
    found = calibrate(model(), data)
    assert found == calibrate(model(), data, PRESETS["default"].calibration)
    assert found["x"] != calibrate(model(), data, "extremes")["x"]


def test_samples_stay_as_they_are(offer: Offer) -> None:
    class Greedy(Fixed):
        def collect(self, array: Array) -> None:
            array[...] = 0

    offer(Greedy)
    feeds = samples(1)
    with pytest.raises(QuantizationError, match="read-only"):
        quantize_model(model(), feeds, Preset(calibration="mine"))
    assert np.array_equal(feeds[0]["x"], samples(1)[0]["x"])
    feeds[0]["x"][...] = 1


def test_values_that_are_empty_do_not_count() -> None:
    empty = np.zeros((0, 4), np.float32)
    with_empty = quantize_model(model(), [*samples(), {"x": empty, "b": empty}])
    assert with_empty == quantize_model(model(), samples())
    assert quantize_model(model(), [{"x": empty, "b": empty}]).graph.node


def fails(*_: Any) -> Any:
    raise KeyError("oops")


@pytest.mark.parametrize(
    ("collector", "text"),
    [
        (fails, "KeyError: 'oops'"),
        (type("C", (Fixed,), {"collect": fails}), "KeyError: 'oops'"),
        (type("R", (Fixed,), {"range": fails}), "KeyError: 'oops'"),
        (type("A", (Fixed,), {"range": lambda self: (1, 2, 3)}), "ValueError"),
        (type("T", (Fixed,), {"range": lambda self: ("low", "high")}), "ValueError"),
        (type("N", (Fixed,), {"range": lambda self: (float("nan"), 1)}), "nan to 1"),
        (type("I", (Fixed,), {"range": lambda self: (0, float("inf"))}), "0.0 to inf"),
        (type("O", (Fixed,), {"range": lambda self: (0, 1e300)}), "0.0 to inf"),
        (type("S", (Fixed,), {"range": lambda self: (2, 1)}), "2.0 to 1.0"),
    ],
    ids=["creates", "collects", "ranges", "three", "text", "nan", "infinity", "huge", "swapped"],
)
def test_a_calibrator_that_fails_is_named_with_the_value(
    collector: Callable[[], Any], text: str, offer: Offer
) -> None:
    offer(collector)
    with pytest.raises(QuantizationError, match=text) as caught:
        quantize_model(model(), samples(), Preset(calibration="mine"))
    assert "calibrator 'mine' of plugin 'acme'" in str(caught.value)
    assert any(f"value {name!r}" in str(caught.value) for name in VALUES)


@pytest.mark.parametrize("preset", ["default", "min-max"])
@pytest.mark.parametrize(("number", "name"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_values_without_a_range_are_refused(preset: str, number: float, name: str) -> None:
    bad = np.full((2, 4), number, np.float32)
    with pytest.raises(QuantizationError, match=f"sample 0: the value 'b' has {name} in it"):
        quantize_model(model(), samples(x=np.zeros((2, 4), np.float32), b=bad), preset)


def test_an_unknown_calibrator_is_told_with_those_that_exist(
    offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(Fixed)
    expected = r"'best': expected one of extremes, .*, sqnr-sym, mine"
    with pytest.raises(QuantizationError, match=expected):
        quantize_model(model(), samples(), Preset(calibration="best"))
    empty = plugins.registry_of([])
    monkeypatch.setattr(plugins, "registry", lambda: empty)
    with pytest.raises(QuantizationError, match="'mse': no plugin offers any"):
        quantize_model(model(), samples())


def test_a_sample_that_the_model_does_not_take_is_told() -> None:
    feeds = [*samples(2), {"x": np.zeros((2, 5), np.float32), "b": np.zeros((2, 4), np.float32)}]
    with pytest.raises(
        QuantizationError, match="sample 2: input 'x' has the shape 2x5, the model takes nx4"
    ):
        quantize_model(model(), feeds)


def test_a_model_without_anything_to_quantize_stays_as_it_is() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (int64[1] y) {y = Shape(x)}'
    proto = onnx.parser.parse_model(text)
    quantized = quantize_model(proto, [np.zeros(4, np.float32)])
    assert [node.op_type for node in quantized.graph.node] == ["Shape"]


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("furiosa_ep.partitioner.plugins", "furiosa_ep.quantization"),
        ("furiosa_ep.quantization.calibrators", "onnxruntime.quantization"),
    ],
)
def test_imports_are_as_few_as_needed(imported: str, absent: str) -> None:
    program = f"import sys, {imported}; print({absent!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "False\n"


def test_the_documented_calibrator_works(offer: Offer) -> None:
    page = (ROOT / "docs" / "plugins" / "hooks" / "furiosa_calibrators.md").read_text()
    code = page[page.index("## Example") :].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    offer(names["FourSigma"])
    quantized = quantize_model(model(), samples(), Preset(calibration="mine"))
    node = next(
        n for n in quantized.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "x"
    )
    (scale,) = (i for i in quantized.graph.initializer if i.name == node.input[1])
    x = np.stack([feed["x"] for feed in samples()]).astype(np.float64)
    assert float(numpy_helper.to_array(scale)) == pytest.approx(8 * x.std() / 255, rel=1e-5)

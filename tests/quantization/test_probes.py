"""Observations of a float model's values beside the values themselves."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from furiosa_ep.quantization import QuantizationError, calibrate
from furiosa_ep.quantization import probes as module
from furiosa_ep.quantization.prepare import prepare_model
from furiosa_ep.quantization.probes import ProbedModel

Array = npt.NDArray[Any]
VALUES = ("x", "r", "c", "s", "k", "a", "y")


def model(size: int = 40, channels: int = 16, batch: str = "1") -> onnx.ModelProto:
    """Convolutions whose results have no numbers below zero, or have them."""
    proto = onnx.parser.parse_model(
        f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[{batch},3,{size},{size}] x) => (float y, float s) {{
            z = Constant<value = float {{0.5}}>()
            m = Constant<value = float {{2}}>()
            b = Conv<pads=[1,1,1,1]>(x, w)
            r = Relu(b)
            c = Conv(r, v)
            s = Sigmoid(c)
            k = Clip(c, z, m)
            a = Add(k, c)
            y = Relu(a)
        }}
        """
    )
    random = np.random.default_rng(0)
    for name, shape in (("w", (channels, 3, 3, 3)), ("v", (channels, channels, 1, 1))):
        weight = random.normal(size=shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weight, name))
    return prepare_model(proto)


def feed(number: int = 0, size: int = 40, batch: int = 1) -> dict[str, Array]:
    random = np.random.default_rng(number)
    return {"x": random.normal(size=(batch, 3, size, size)).astype(np.float32)}


def values(proto: onnx.ModelProto, data: dict[str, Array]) -> dict[str, Array]:
    every = onnx.ModelProto()
    every.CopyFrom(proto)
    present = {value.name for value in proto.graph.output}
    names = [name for name in VALUES if name != "x"]
    every.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
    session = ort.InferenceSession(every.SerializeToString(), providers=["CPUExecutionProvider"])
    return {**data, **dict(zip(names, session.run(names, data), strict=True))}


@pytest.mark.parametrize("sample_size", [0, 50, 1000, 10**6, None])
@pytest.mark.parametrize(("size", "channels"), [(40, 16), (9, 16), (64, 3), (1, 8)])
def test_extremes_are_those_of_the_whole_value(
    sample_size: int | None, size: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 100)
    proto, data = model(size, channels), feed(0, size)
    probed = ProbedModel(proto, VALUES, sample_size)
    for name, value in values(proto, data).items():
        low, high, numbers = probed.run(data, 0)[name]
        assert max(high, 0) == pytest.approx(max(value.max(), 0), rel=1e-5)
        assert min(low, 0) == pytest.approx(min(value.min(), 0), rel=1e-5)
        if sample_size is None:
            assert numbers.shape == value.shape
            assert numbers == pytest.approx(value, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("sample_size", [1000, 5000])
def test_numbers_are_about_as_many_as_asked_for_and_of_the_value(sample_size: int) -> None:
    proto = model(96)
    probed = ProbedModel(proto, VALUES, sample_size)
    for number in range(3):
        data = feed(number, 96)
        for name, value in values(proto, data).items():
            numbers = probed.run(data, number)[name].numbers
            assert numbers.ndim == 1
            assert min(sample_size, value.size) / 3 <= numbers.size <= 2 * sample_size + 500
            distance = np.abs(np.sort(value.ravel())[:, None] - numbers[:20]).min(axis=0)
            assert distance.max() < 1e-4
            levels = (0.1, 0.5, 0.9)
            assert np.quantile(numbers, levels) == pytest.approx(
                np.quantile(value, levels), abs=float(0.4 * value.std() + 0.1)
            )


def test_the_numbers_of_whole_values_are_others_in_each_sample() -> None:
    probed, data = ProbedModel(model(), ("x", "c"), 100), feed()
    first, second = (probed.run(data, number)["c"].numbers for number in (0, 1))
    assert not np.array_equal(first, second)


def test_images_without_numbers_below_zero_are_pooled() -> None:
    probed = ProbedModel(model(96), VALUES, 4096)
    pooled = {name for name, probe in probed._probes.items() if name not in probe.outputs}
    assert pooled == {"r", "k"}  # others leave the session anyway, or have numbers below zero
    assert all(
        name in probe.outputs for name, probe in ProbedModel(model(), VALUES, None)._probes.items()
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_any_number_of_images_runs_at_a_time(batch: int) -> None:
    proto, data = model(40, batch="n"), feed(batch=batch)
    found = ProbedModel(proto, VALUES, 500).run(data, 0)
    for name, value in values(proto, data).items():
        assert found[name].high == pytest.approx(value.max(), rel=1e-5)


@pytest.mark.parametrize("calibrator", ["extremes", "mse"])
@pytest.mark.parametrize(("number", "name"), [(math.nan, "NaN"), (math.inf, "(infinity|NaN)")])
@pytest.mark.parametrize("where", ["first layer", "second layer", "pixel"])
def test_numbers_that_are_none_are_found(
    calibrator: str, number: float, name: str, where: str
) -> None:
    proto, data = model(), feed()
    if where == "pixel":
        data["x"][0, 1, 20, 20] = number
    else:
        tensor = next(t for t in proto.graph.initializer if t.name == "wv"[where[0] == "s"])
        weight = numpy_helper.to_array(tensor).copy()
        weight[3, 1] = number
        tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    with pytest.raises(QuantizationError, match=f"sample 0: the value '.*' has {name} in it"):
        calibrate(proto, [data], calibrator)


def test_a_sample_that_stops_the_model_is_told() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n] x, int64[1] shape) => (float y) '
        "{ r = Reshape(x, shape)  y = Sigmoid(r) }"
    )
    probed = ProbedModel(proto, ("x", "y"), 0)
    with pytest.raises(QuantizationError, match=r"does not take calibration sample 7: .*eshape"):
        probed.run({"x": np.zeros(4, np.float32), "shape": np.array([3])}, 7)


def test_a_model_of_inputs_alone_is_observed() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (int64[1] y) { y = Shape(x) }'
    )
    found = ProbedModel(proto, ("x",), 0).run({"x": np.array([1, -2], np.float32)}, 0)
    assert (found["x"].low, found["x"].high) == (-2, 1)

"""`diagnose`: what it measures, which causes it tells apart, and what it refuses."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.quantization import (
    ModelEditor,
    Preset,
    QuantizationError,
    TensorType,
    calibrate,
    quantize_model,
)
from furiosa_ep.quantization.calibration import find_calibrator
from furiosa_ep.quantization.diagnosis import Cause, Diagnosis, LayerDiagnosis, diagnose
from furiosa_ep.quantization.diagnosis.causes import Evidence, advice_for, cause_of

Array = npt.NDArray[np.float32]


def conv_model(scales: Array | None = None, *, names: str = "{}") -> onnx.ModelProto:
    """Conv, Relu, Conv, GlobalAveragePool on 1x3x8x8.

    The channels between the two are held multiplied by `scales`.
    """
    random = np.random.default_rng(1)
    first = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
    second = random.normal(size=(4, 8, 3, 3)).astype(np.float32)
    if scales is not None:
        first *= scales[:, None, None, None]
        second /= scales[None, :, None, None]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c2"], ["y"], "pool"),
    ]
    for node in nodes:
        node.name = names.format(node.name)
    constants = {"w1": first, "w2": second, "b2": np.ones(4, np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 1, 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def samples(count: int = 8, seed: int = 2) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(count)]


def quantized(model: onnx.ModelProto, **factors: float) -> onnx.ModelProto:
    """The model in 8 bits, with the ranges of some values multiplied."""
    ranges = {
        name: tuple(end * factors.get(name, 1.0) for end in found)
        for name, found in calibrate(model, samples(), "extremes").items()
    }
    return quantize_model(model, samples(), "min-max", ranges=ranges)


def layer(found: Diagnosis, value: str) -> LayerDiagnosis:
    return next(one for one in found.layers if one.value == value)


def run(model: onnx.ModelProto, values: list[str], sample: Array) -> list[Array]:
    model = onnx.ModelProto.FromString(model.SerializeToString())
    present = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in values if n not in present)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(values, {"x": sample})
    return found


def decibels(expected: Array, actual: Array) -> float:
    noise = np.square(expected - actual, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(expected, dtype=np.float64).sum() / noise))


def test_every_value_is_found_and_measured() -> None:
    model = conv_model()
    eight = quantized(model)
    found = diagnose(model, eight, samples(3))
    assert [one.value for one in found.layers] == ["x", "r1", "c2", "y"]
    assert [one.op_type for one in found.layers] == ["Input", "Conv", "Conv", "GlobalAveragePool"]
    assert found.samples == 3
    assert not found.unpaired
    expected = np.stack([run(model, ["r1", "y"], sample)[0] for sample in samples(3)])
    reader = next(n for n in eight.graph.node if n.op_type == "Conv" and "second" in n.name)
    actual = np.stack([run(eight, [reader.input[0]], sample)[0] for sample in samples(3)])
    assert layer(found, "r1").accumulated_db == pytest.approx(decibels(expected, actual), abs=0.01)
    assert layer(found, "r1").shape == (1, 8, 8, 8)
    (output,) = found.outputs
    assert output.db == pytest.approx(layer(found, "y").accumulated_db, abs=0.01)
    assert sum(one.share for one in found.layers) == pytest.approx(1)
    assert all(one.local_db > 25 for one in found.layers)


def test_a_layer_alone_is_measured_without_what_lies_before_it() -> None:
    model = conv_model()
    found = diagnose(model, quantized(model, r1=60), samples(4))
    good = diagnose(model, quantized(model), samples(4))
    assert layer(found, "r1").local_db < 15
    assert layer(found, "c2").accumulated_db < 15
    assert layer(found, "c2").local_db == pytest.approx(layer(good, "c2").local_db, abs=0.5)
    assert found.worst()[0].value == "r1"
    assert layer(found, "r1").share > 0.8
    assert layer(found, "r1").output_db == pytest.approx(found.outputs[0].db, abs=3)


def test_histogram_reaches_over_range_and_numbers() -> None:
    model = conv_model()
    found = layer(diagnose(model, quantized(model, c2=0.2), samples(4)), "c2")
    assert found.bars_low == pytest.approx(found.seen_low)
    assert found.bars_high == pytest.approx(found.seen_high)
    assert sum(found.bars) == pytest.approx(1)
    centers = np.linspace(found.bars_low, found.bars_high, len(found.bars) + 1)
    centers = (centers[1:] + centers[:-1]) / 2
    beyond = np.array(found.bars)[(centers < found.low) | (centers > found.high)].sum()
    assert beyond == pytest.approx(found.clipped, abs=0.05)


@pytest.mark.parametrize(
    ("factors", "value", "cause", "option"),
    [
        ({"r1": 30.0}, "r1", Cause.WIDE, "ranges"),
        ({"r1": 0.2}, "r1", Cause.CLIPPED, "calibration"),
        ({"r1": 30.0}, "c2", Cause.INHERITED, "first"),
    ],
)
def test_wrong_ranges_are_told(
    factors: dict[str, float], value: str, cause: Cause, option: str
) -> None:
    model = conv_model()
    found = layer(diagnose(model, quantized(model, **factors), samples(4)), value)
    assert found.cause is cause
    assert option in found.advice


def test_channels_that_are_apart_are_told() -> None:
    model = conv_model(np.array([100, 1, 1, 1, 1, 1, 1, 1], np.float32))
    second = next(i for i in model.graph.initializer if i.name == "w2")
    weights = numpy_helper.to_array(second).copy()
    weights[:, 0] = 0
    second.CopyFrom(numpy_helper.from_array(weights, "w2"))
    found = diagnose(model, quantized(model), samples(4))
    # The one channel dominates the value, so that the loss of others shows at the outputs only.
    assert layer(found, "r1").channel_spread > 50
    assert found.worst()[0].value == "r1"


def test_weights_are_told() -> None:
    coarse = quantize_model(conv_model(), samples())
    for node in coarse.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0].startswith("w2"):
            tensor = next(i for i in coarse.graph.initializer if i.name == node.input[0])
            rounded = np.rint(numpy_helper.to_array(tensor) / 64).astype(np.int8) * 64
            tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.int8), tensor.name))
    found = layer(diagnose(conv_model(), coarse, samples(4)), "c2")
    assert found.cause is Cause.WEIGHTS
    assert found.weights_db is not None
    assert found.weights_db < 20
    assert "adapt_rounding" in found.advice


def test_full_biases_are_told() -> None:
    model = conv_model()
    eight = quantized(model)
    bias = next(i for i in eight.graph.initializer if i.data_type == TensorProto.INT32)
    full = np.full(bias.dims, np.iinfo(np.int32).max, np.int32)
    bias.CopyFrom(numpy_helper.from_array(full, bias.name))
    found = layer(diagnose(model, eight, samples(2)), "c2")
    assert found.cause is Cause.BIAS
    assert found.advice.startswith("4 of its biases")


@pytest.mark.parametrize(
    "scales",
    [(0.1, 0.5, 1, 1, 2, 4, 8, 0.3), (1, 1, 1, 1, 2, 64, 1024, 1)],
    ids=["any", "powers-of-two"],
)
def test_channels_that_were_scaled_on_purpose_are_no_loss(scales: Sequence[float]) -> None:
    equalised = conv_model(np.array(scales, np.float32))
    eight = quantized(equalised)
    own = diagnose(equalised, eight, samples(4))
    found = diagnose(conv_model(), eight, samples(4))
    assert layer(found, "r1").rescaled
    assert not layer(own, "r1").rescaled
    for value in ("r1", "c2"):
        first, second = layer(found, value), layer(own, value)
        assert first.local_db == pytest.approx(second.local_db, abs=1)
        assert first.accumulated_db == pytest.approx(second.accumulated_db, abs=1)


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model in which nothing has the name that it had."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    numbers: dict[str, str] = {"": ""}
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [numbers.setdefault(name, f"v{len(numbers)}") for name in names]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = numbers.setdefault(value.name, f"v{len(numbers)}")
    del graph.value_info[:]
    return model


def test_values_are_found_by_structure_where_all_names_differ() -> None:
    model = conv_model()
    eight = quantized(model)
    expected = diagnose(model, eight, samples(3))
    found = diagnose(model, renamed(eight), samples(3))
    assert [one.value for one in found.layers] == [one.value for one in expected.layers]
    assert [one.local_db for one in found.layers] == pytest.approx(
        [one.local_db for one in expected.layers]
    )


def test_a_model_of_onnxruntimes_quantizer_is_diagnosed(tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples = iter(samples())

        def get_next(self) -> dict[str, Array] | None:
            found = next(self._samples, None)
            return None if found is None else {"x": found}

    plain, eight = tmp_path / "float.onnx", tmp_path / "eight.onnx"
    onnx.save(conv_model(), plain)
    quantize_static(plain, eight, Reader(), per_channel=True)
    found = diagnose(plain, eight, samples(3))
    assert {"x", "r1", "c2", "y"} <= {one.value for one in found.layers}
    assert found.outputs[0].db is not None
    assert found.outputs[0].db > 20


def test_inputs_and_outputs_may_be_integers() -> None:
    model = conv_model()
    plain = diagnose(model, quantize_model(model, samples(), "min-max"), samples(3))
    editor = ModelEditor(model)
    editor.convert_input_type("x", TensorType.INT8)
    editor.convert_output_type("y", TensorType.UINT8)
    eight = quantize_model(model, samples(), "min-max")
    found = diagnose(conv_model(), eight, samples(3))
    assert found.outputs[0].db == pytest.approx(plain.outputs[0].db, abs=1)
    assert {"x", "r1", "c2", "y"} == {one.value for one in found.layers}


def test_integer_outputs_are_compared_by_agreement() -> None:
    model = conv_model()
    model.graph.node.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0))
    del model.graph.output[:]
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["batch", 1, 1])
    model.graph.output.append(label)
    found = diagnose(model, quantized(model), samples(8))
    (output,) = found.outputs
    assert output.db is None
    assert output.agreement is not None
    assert output.agreement >= 0.5
    assert all(one.output_db is None for one in found.layers)
    assert sum(one.share for one in found.layers) == pytest.approx(1)


def test_open_dims_may_change_between_samples() -> None:
    model = conv_model()
    batches = [np.concatenate(samples(count)) for count in (1, 3, 2)]
    found = diagnose(model, quantized(model), batches)
    assert found.samples == 3
    assert layer(found, "y").shape == (2, 4, 1, 1)


def test_samples_beyond_the_limit_are_not_asked_for() -> None:
    def some() -> Iterator[Array]:
        yield from samples(3)
        pytest.fail("asked for a fourth sample")

    assert diagnose(conv_model(), quantized(conv_model()), some(), limit=3).samples == 3


def test_json_and_table_have_the_layers() -> None:
    model = conv_model()
    found = diagnose(model, quantized(model, r1=30), samples(2))
    data = json.loads(found.to_json())
    assert [one["value"] for one in data["layers"]] == ["x", "r1", "c2", "y"]
    assert data["layers"][1]["cause"] == "wide"
    assert len(data["layers"][1]["bars"]) == 64
    table = found.table(top=2)
    first, second, third = table.splitlines()[:3]
    assert first.split()[:2] == ["layer", "operator"]
    assert second.startswith("first ")
    assert third
    assert layer(found, "r1").advice.split(".")[0] in " ".join(table.split())
    assert "2 more lose less" in table


def other_model() -> onnx.ModelProto:
    node = helper.make_node("Sigmoid", ["input"], ["result"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [1, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_what_cannot_be_compared_is_refused() -> None:
    model = conv_model()
    eight = quantized(model)
    with pytest.raises(QuantizationError, match="wrong order"):
        diagnose(eight, model, samples())
    with pytest.raises(QuantizationError, match="wrong order"):
        diagnose(model, model, samples())
    with pytest.raises(QuantizationError, match="the quantized model does not take sample 0"):
        diagnose(other_model(), eight, [np.zeros((1, 3), np.float32)])
    with pytest.raises(QuantizationError, match="no samples"):
        diagnose(model, eight, [])
    with pytest.raises(QuantizationError, match="shape"):
        diagnose(model, eight, [np.zeros((1, 3, 8), np.float32)])
    broken = samples(2)
    broken[1][0, 0, 0, 0] = np.nan
    with pytest.raises(QuantizationError, match="sample 1: the float model computes NaN"):
        diagnose(model, eight, broken)
    integer = helper.make_node("QLinearConv", ["x"] * 8, ["q"])
    eight.graph.node.append(integer)
    with pytest.raises(QuantizationError, match="QOperator"):
        diagnose(model, eight, samples())


def test_page_needs_nothing_and_escapes_names() -> None:
    model = conv_model(names="<script>alert('{}')</script>&\"")
    page = diagnose(model, quantized(model), samples(2)).to_html("<b>model</b>")
    assert "<script>alert" not in page
    assert "<b>model" not in page
    assert "&lt;script&gt;alert(&#x27;second&#x27;)&lt;/script&gt;&amp;&quot;" in page
    assert page.count("<script>") == 1
    assert not re.findall(r"https?:|src=|@import|url\(", page)


EVIDENCE = Evidence(
    share=1,
    output_db=1,
    accumulated_db=1,
    local_db=1,
    rounding=1,
    clipping=1,
    weights=1,
    outside=0.1,
    reach=0.1,
    typical_steps=1,
    channel_spread=9,
    full_biases=1,
    upstream="conv",
    per_channel=True,
)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, Cause.BIAS),
        ({"full_biases": 0, "clipping": 3}, Cause.CLIPPED),
        ({"full_biases": 0, "rounding": 3}, Cause.CHANNELS),
        ({"full_biases": 0, "rounding": 3, "channel_spread": 2}, Cause.WIDE),
        ({"full_biases": 0, "weights": 3}, Cause.WEIGHTS),
        ({"full_biases": 0, "clipping": 3, "output_db": 45}, Cause.INHERITED),
        ({"full_biases": 0, "clipping": 3, "output_db": 45, "accumulated_db": 25}, Cause.NONE),
        ({"full_biases": 0, "local_db": 35, "clipping": 3}, Cause.SENSITIVE),
        ({"full_biases": 0, "local_db": 35, "rounding": 3}, Cause.WIDE),
        ({"full_biases": 0, "local_db": 35, "share": 0.05}, Cause.INHERITED),
        ({"full_biases": 0, "local_db": 35, "output_db": 35, "accumulated_db": 35}, Cause.NONE),
    ],
)
def test_causes_are_told_apart(changes: dict[str, float], cause: Cause) -> None:
    evidence = replace(EVIDENCE, **changes)  # type: ignore[arg-type]
    assert cause_of(evidence) is cause
    assert advice_for(cause, evidence)


def test_advice_names_options_that_exist() -> None:
    coarse = replace(EVIDENCE, per_channel=False)
    advice = " ".join(advice_for(cause, one) for cause in Cause for one in (EVIDENCE, coarse))
    own = {field.name for field in fields(Preset)}
    assert {*re.findall(r"(\w+)=True", advice)} <= own
    for name in re.findall(r'calibration="(\w+)"', advice):
        find_calibrator(name)
    parameters = signature(quantize_model).parameters
    assert {"keep_float", "ranges"} <= parameters.keys()

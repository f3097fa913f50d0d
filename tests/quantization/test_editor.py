"""`ModelEditor`: models that take and give integers compute what those of floats compute."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

import furiosa_ep
from furiosa_ep.quantization import (
    PRESETS,
    ModelEditor,
    QuantizationError,
    TensorType,
    calibrate,
    get_output_names,
    get_pure_input_names,
    quantize_model,
)

Array = npt.NDArray[Any]
BOTH = tuple(TensorType)
KINDS = {
    "uint8": PRESETS["min-max"],
    "int8": replace(PRESETS["min-max"], activation="int8"),
}
"""Presets that need no data beyond ranges."""
DTYPES: dict[TensorType, Any] = {TensorType.UINT8: np.uint8, TensorType.INT8: np.int8}

GRAPHS = {
    "a chain": "c = Conv(x, w)  y = Relu(c)",
    "an input of two nodes": "c = Conv(x, w)  s = Sigmoid(x)  y = Add(c, s)",
    "an output that is read": "y = Conv(x, w)  s = Sigmoid(y)  z = Mul(s, y)",
    "an output of a moved value": "c = Conv(x, w)  y = Transpose<perm=[0,2,3,1]>(c)",
    "an output with a fixed range": "c = Conv(x, w)  y = Softmax<axis=1>(c)",
    "an output in float": "c = Conv(x, w)  y = Erf(c)",
    "an input in float": "e = Erf(x)  y = Conv(e, w)",
    "nothing but floats": "e = Erf(x)  y = Cos(e)",
    "an input in float and quantized": "e = Erf(x)  c = Conv(x, w)  y = Add(c, e)",
    "taken names": "x_float = Relu(x)  y_float = Conv(x_float, w)  y = Sigmoid(y_float)",
}


def model(graph: str) -> onnx.ModelProto:
    more = ", float[1,4,6,6] z" if "z =" in graph else ""
    proto = onnx.parser.parse_model(
        f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1,4,6,6] x) => (float[n,c,h,v] y{more}) {{ {graph} }}
        """
    )
    for node in proto.graph.node:  # names that the parser does not take
        for names in (node.input, node.output):
            names[:] = [name.replace("_float", "/float") for name in names]
    weight = np.random.default_rng(0).normal(size=(4, 4, 1, 1)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return proto


def samples(count: int = 4) -> list[Array]:
    random = np.random.default_rng(1)
    return [random.normal(1, 2, size=(1, 4, 6, 6)).astype(np.float32) for _ in range(count)]


def run(proto: onnx.ModelProto, x: Array) -> dict[str, Array]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


def constant(proto: onnx.ModelProto, name: str) -> Array:
    return numpy_helper.to_array(next(i for i in proto.graph.initializer if i.name == name))


def border(proto: onnx.ModelProto, name: str) -> tuple[Array, Array] | None:
    """Scale and zero point of an input or an output of integers."""
    for node in proto.graph.node:
        if (node.op_type, node.input[0]) == ("DequantizeLinear", name) or (
            node.op_type == "QuantizeLinear" and node.output[0] == name
        ):
            return constant(proto, node.input[1]), constant(proto, node.input[2])
    return None


def floats(integers: Array, parameters: tuple[Array, Array]) -> Array:
    scale, zero_point = parameters
    result: Array = (integers.astype(np.int32) - zero_point.astype(np.int32)).astype("f4") * scale
    return result


def element(proto: onnx.ModelProto, name: str) -> int:
    types = {
        v.name: v.type.tensor_type.elem_type for v in (*proto.graph.input, *proto.graph.output)
    }
    return int(types[name])


@pytest.mark.parametrize(
    ("preset", "taken", "given"), list(itertools.product(KINDS, (None, *BOTH), (None, *BOTH)))
)
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_integers_in_and_out_are_the_floats_that_they_stand_for(
    graph: str, preset: str, taken: TensorType | None, given: TensorType | None
) -> None:
    plain = model(graph)
    ranges = calibrate(plain, samples(), "extremes")
    edited = model(graph)
    editor = ModelEditor(edited)
    if taken:
        editor.convert_input_type("x", taken)
    if given:
        editor.convert_output_type("y", given)
    expected = quantize_model(plain, samples(), KINDS[preset], ranges=ranges)
    found = quantize_model(edited, samples(), KINDS[preset], ranges=ranges)
    onnx.checker.check_model(found, full_check=True)
    assert not [entry for entry in found.metadata_props if "borders" in entry.key]
    x = samples()[2]
    actual_input = x
    if taken:
        assert element(found, "x") == TensorProto.DataType.Value(taken.name)
        parameters = border(found, "x")
        assert parameters is not None
        actual_input = np.random.default_rng(3).integers(0, 256, x.shape).astype(DTYPES[taken])
        x = floats(actual_input, parameters)
    actual, wanted = run(found, actual_input), run(expected, x)
    for name in actual:
        if name != "y" or not given:
            assert actual[name].tobytes() == wanted[name].tobytes()
            continue
        assert actual["y"].dtype == DTYPES[given]
        parameters = border(found, "y") or border_of_producer(found, expected, given)
        if any(n.op_type == "DequantizeLinear" and n.output[0] == "y" for n in expected.graph.node):
            assert floats(actual["y"], parameters).tobytes() == wanted["y"].tobytes()
        else:
            scale = float(parameters[0])
            low, high = calibrate(edited, samples(), "extremes")["y"]
            inside = np.clip(wanted["y"], low, high)
            assert np.abs(floats(actual["y"], parameters) - inside).max() <= scale * 0.5001


def border_of_producer(
    found: onnx.ModelProto, expected: onnx.ModelProto, given: TensorType
) -> tuple[Array, Array]:
    """Those of the DequantizeLinear that the model of floats has at the output."""
    node = next(n for n in expected.graph.node if n.output[0] == "y")
    scale, zero_point = (constant(expected, name) for name in node.input[1:3])
    assert zero_point.dtype == DTYPES[given]
    return scale, zero_point


@pytest.mark.parametrize("preset", KINDS)
def test_nothing_is_converted_where_types_agree(preset: str) -> None:
    kind = TensorType.UINT8 if preset == "uint8" else TensorType.INT8
    other = TensorType.INT8 if preset == "uint8" else TensorType.UINT8
    counts = {}
    for one in (None, kind, other):
        proto = model(GRAPHS["a chain"])
        if one:
            ModelEditor(proto).convert_input_type("x", one)
            ModelEditor(proto).convert_output_type("y", one)
        quantized = quantize_model(proto, samples(), KINDS[preset])
        op_types = [node.op_type for node in quantized.graph.node]
        counts[one] = op_types.count("QuantizeLinear"), op_types.count("DequantizeLinear")
    quantize, dequantize = counts[None]
    assert counts[kind] == (quantize - 1, dequantize - 1)
    assert counts[other] == (quantize + 1, dequantize + 1)


@pytest.mark.parametrize("preset", KINDS)
@pytest.mark.parametrize("kind", BOTH)
def test_the_npu_takes_all_of_it(kind: TensorType, preset: str) -> None:
    proto = model(GRAPHS["a chain"])
    ModelEditor(proto).convert_input_type("x", kind)
    ModelEditor(proto).convert_output_type("y", kind)
    data = quantize_model(proto, samples(), KINDS[preset]).SerializeToString()
    report = furiosa_ep.explain(data)
    assert len(report.partitions) == 1
    furiosa_ep.register()
    x = np.random.default_rng(3).integers(0, 256, (1, 4, 6, 6)).astype(DTYPES[kind])
    outputs = [
        ort.InferenceSession(data, providers=providers).run(None, {"x": x})[0]
        for providers in (["CPUExecutionProvider"], ["FuriosaProvider", "CPUExecutionProvider"])
    ]
    assert np.array_equal(*outputs)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("graph", ["a chain", "an output that is read", "an output in float"])
def test_the_range_of_an_output_can_be_given(graph: str, kind: TensorType) -> None:
    proto = model(GRAPHS[graph])
    ModelEditor(proto).convert_output_type("y", kind, (0, 5.1))
    found = quantize_model(proto, samples(), KINDS["uint8"])
    onnx.checker.check_model(found, full_check=True)
    y = run(found, samples()[0])["y"].astype(int) - (-128 if kind is TensorType.INT8 else 0)
    wanted = np.clip(
        run(quantize_model(model(GRAPHS[graph]), samples(), KINDS["uint8"]), samples()[0])["y"],
        0,
        5.1,
    )
    assert np.abs(y * 0.02 - wanted).max() <= 0.06
    ranges = calibrate(proto, samples(), "extremes")
    del ranges["y"]
    assert quantize_model(proto, (), KINDS["uint8"], ranges=ranges) == found


def test_pixels_are_integers_of_the_scale_that_calibration_finds() -> None:
    proto = model(GRAPHS["a chain"])
    ModelEditor(proto).convert_input_type("x", TensorType.UINT8)
    pixels = np.linspace(0, 1, 144, dtype=np.float32).reshape(1, 4, 6, 6)
    found = quantize_model(proto, [pixels], KINDS["uint8"])
    parameters = border(found, "x")
    assert parameters is not None
    assert float(parameters[0]) == pytest.approx(1 / 255)
    assert int(parameters[1]) == 0


def test_the_model_stays_a_float_model_that_can_be_edited_again() -> None:
    proto = model(GRAPHS["a chain"])
    ModelEditor(proto).convert_input_type("x", TensorType.UINT8)
    assert np.array_equal(
        run(proto, samples()[0])["y"], run(model(GRAPHS["a chain"]), samples()[0])["y"]
    )
    ModelEditor(proto).convert_input_type("x", TensorType.INT8)
    assert element(quantize_model(proto, samples()), "x") == TensorProto.INT8
    assert element(proto, "x") == TensorProto.FLOAT


def test_names() -> None:
    proto = model(GRAPHS["an output that is read"])
    proto.graph.input.append(
        onnx.helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4, 1, 1])
    )
    assert get_pure_input_names(proto) == ["x"]
    assert get_output_names(proto) == ["y", "z"]


def test_what_cannot_be_converted_is_refused() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> '
        "g (float[2] x, int64[2] i) => (float[2] y, int64[2] j) { y = Relu(x)  j = Identity(i) }"
    )
    editor = ModelEditor(proto)
    before = proto.SerializeToString()
    with pytest.raises(ValueError, match="the model has no input 'y', but x, i"):
        editor.convert_input_type("y", TensorType.UINT8)
    with pytest.raises(ValueError, match="the model has no output 'x', but y, j"):
        editor.convert_output_type("x", TensorType.UINT8)
    with pytest.raises(ValueError, match="the input 'i' has no float32 numbers"):
        editor.convert_input_type("i", TensorType.UINT8)
    with pytest.raises(ValueError, match="the output 'j' has no float32 numbers"):
        editor.convert_output_type("j", TensorType.INT8)
    with pytest.raises(ValueError, match="3"):
        editor.convert_input_type("x", 3)  # type: ignore[arg-type]
    with pytest.raises(QuantizationError, match=r"the range of 'y' is \(2, 1\): expected two"):
        editor.convert_output_type("y", TensorType.INT8, (2, 1))
    assert proto.SerializeToString() == before

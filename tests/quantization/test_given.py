"""Models that were trained with quantization keep their parameters, and are completed."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import furiosa_ep
from furiosa_ep.quantization import Preset, QuantizationError, quantize_model
from tests.quantization.optimizing import Array, normal, op_types, parse

INPUT = "p = QuantizeLinear(x, s, z) q = DequantizeLinear(p, s, z)"
WEIGHT = "u = QuantizeLinear<axis=0>(w, t, n) v = DequantizeLinear<axis=0>(u, t, n)"
REST = "c = Conv(q, v, b) d = Relu(c) e = Conv(d, k) y = Sigmoid(e)"
SCALE = 0.03125
SCALES = np.linspace(0.01, 0.04, 4, dtype=np.float32)


def trained(nodes: str = f"{INPUT} {WEIGHT} {REST}", **constants: Any) -> onnx.ModelProto:
    """A model whose input and first weights were rounded during training."""
    given = {
        "s": SCALE,
        "z": np.uint8(120),
        "t": SCALES,
        "n": np.zeros(4, np.int8),
        "w": normal(4, 4, 3, 3),
        "b": normal(4),
        "k": normal(4, 4, 3, 3, seed=1),
    }
    text = f"(float[1,4,8,8] x) => (float[1,4,4,4] y) {{ {nodes} }}"
    return parse(text, **{**given, **constants})


def samples(count: int = 6) -> list[Array]:
    return [normal(1, 4, 8, 8, seed=seed) for seed in range(count)]


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def quantizer(model: onnx.ModelProto, name: str) -> tuple[float, int]:
    """Scale and zero point of what quantizes a value."""
    (node,) = (n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == name)
    known = constants(model)
    return known[node.input[1]].item(), known[node.input[2]].item()


def test_parameters_stay_and_the_rest_is_calibrated() -> None:
    model = quantize_model(trained(), samples())
    assert quantizer(model, "x") == (SCALE, 120)
    scale, zero_point = quantizer(model, "d")
    assert scale > 0
    assert zero_point == 0
    steps = np.rint(normal(4, 4, 3, 3) / SCALES.reshape(4, 1, 1, 1))
    expected = np.clip(steps, -128, 127)
    assert any(np.array_equal(array, expected) for array in constants(model).values())
    assert op_types(model).count("Conv") == 2
    assert "Relu" not in op_types(model)


def test_the_result_is_one_partition_and_the_same_on_both_providers() -> None:
    furiosa_ep.register()
    model = quantize_model(trained(), samples())
    onnx.checker.check_model(model, full_check=True)
    assert len(furiosa_ep.explain(model).partitions) == 1
    sessions = [
        ort.InferenceSession(model.SerializeToString(), providers=providers)
        for providers in (["FuriosaProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"])
    ]
    for sample in samples():
        npu, cpu = (session.run(None, {"x": sample})[0] for session in sessions)
        np.testing.assert_array_equal(npu, cpu)


def test_a_value_that_was_rounded_in_front_of_a_relu_stays_so() -> None:
    rounded = "f = QuantizeLinear(c, s, z) g = DequantizeLinear(f, s, z)"
    nodes = f"{INPUT} c = Conv(q, w, b) {rounded} d = Relu(g) y = Conv(d, k)"
    model = quantize_model(trained(nodes), samples())
    assert quantizer(model, "c") == (SCALE, 120)
    assert op_types(model).count("Relu") == 1


def test_an_output_that_was_rounded_keeps_its_name() -> None:
    nodes = f"{INPUT} c = Conv(q, w, b) d = Relu(c) e = Conv(d, k) "
    nodes += "f = QuantizeLinear(e, s, z) y = DequantizeLinear(f, s, z)"
    model = quantize_model(trained(nodes), samples())
    assert [value.name for value in model.graph.output] == ["y"]
    (node,) = (node for node in model.graph.node if "y" in node.output)
    assert constants(model)[node.input[1]] == SCALE


def test_integer_weights_and_biases_are_taken_over() -> None:
    integers = np.arange(-72, 72).astype(np.int8).reshape(4, 4, 3, 3)
    biases = np.array([-5000, 7, 0, 12345], np.int32)
    nodes = (
        f"{INPUT} v = DequantizeLinear<axis=0>(w, t) f = DequantizeLinear<axis=0>(b, h) "
        "c = Conv(q, v, f) d = Relu(c) e = Conv(d, k) y = Sigmoid(e)"
    )
    model = quantize_model(
        trained(nodes, w=integers, b=biases, h=np.float32(SCALE) * SCALES), samples()
    )
    found = list(constants(model).values())
    assert any(np.array_equal(array, integers) for array in found)
    assert any(array.dtype == np.int32 and np.array_equal(array, biases) for array in found)


def test_the_type_of_activations_is_that_of_the_model() -> None:
    model = quantize_model(trained(z=np.int8(-8)), samples(), Preset(activation="uint8"))
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            assert constants(model)[node.input[2]].dtype == np.int8


@pytest.mark.parametrize(
    ("nodes", "changes", "message"),
    [
        (
            f"{INPUT} {WEIGHT} {REST}",
            {"z": np.int16(3)},
            r"QuantizeLinear .* its type is int16, expected 8 bits",
        ),
        (
            f"p = QuantizeLinear(x, s, z) q = DequantizeLinear(p, r, z) {WEIGHT} {REST}",
            {"r": np.float32(2)},
            r"DequantizeLinear .* other parameters than the QuantizeLinear before it",
        ),
        (
            "o = ReduceMax<keepdims=0>(x) p = QuantizeLinear(x, o, z) "
            f"q = DequantizeLinear(p, o, z) {WEIGHT} {REST}",
            {},
            r"its scale or zero point is no constant",
        ),
        (
            f"{INPUT} r = Cast<to=1>(p) m = Add(q, r) c = Conv(m, w, b) y = Conv(c, k)",
            {},
            r"its result is read by something else than DequantizeLinear",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused(
    nodes: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(QuantizationError, match=message):
        quantize_model(trained(nodes, **changes), samples())


@pytest.mark.parametrize("preset", ["default", "int8"])
def test_a_model_that_is_quantized_whole_is_refused(preset: str) -> None:
    quantized = quantize_model(trained(), samples(), preset)
    with pytest.raises(QuantizationError, match="the model is quantized already: all that"):
        quantize_model(quantized, samples())


def test_operators_on_integers_are_refused() -> None:
    nodes = "p = QuantizeLinear(x, s, z) i = ConvInteger(p, j) y = Cast<to=1>(i)"
    model = trained(nodes, j=np.ones((4, 4, 5, 5), np.uint8))
    with pytest.raises(QuantizationError, match="is a ConvInteger: the model is quantized already"):
        quantize_model(model, samples())

"""The QDQ model: its form, its parameters, and that both providers compute the same of it."""

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import furiosa_ep
from furiosa_ep.quantization import quantize_model
from tests.quantization.optimizing import Array, normal, op_types, parse
from tests.quantization.random_float_models import random_model

LAYER = "(float[1,4,8,8] x) => (float[1,6,6,6] y) { y = Conv(x, w, b) }"


def samples(*shape: int, count: int = 4) -> list[Array]:
    return [normal(*shape, seed=seed) for seed in range(count)]


def constant(model: onnx.ModelProto, name: str) -> Array:
    return numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == name))


def dequantizer(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    (found,) = (node for node in model.graph.node if name in node.output)
    assert isinstance(found, onnx.NodeProto)
    return found


def run(model: onnx.ModelProto, feed: dict[str, Array], *providers: str) -> list[Array]:
    furiosa_ep.register()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=[*providers, "CPUExecutionProvider"]
    )
    found: list[Array] = session.run(None, feed)
    return found


def test_a_bias_has_the_scale_of_its_products() -> None:
    source = parse(LAYER, w=normal(6, 4, 3, 3), b=normal(6))
    model = quantize_model(source, samples(1, 4, 8, 8), "min-max")
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    x, w, b = (dequantizer(model, name) for name in conv.input)
    scales = [constant(model, node.input[1]) for node in (x, w, b)]
    assert scales[1].shape == scales[2].shape == (6,)
    np.testing.assert_array_equal(scales[0] * scales[1], scales[2])
    assert constant(model, b.input[0]).dtype == np.int32
    biases = constant(model, b.input[0]) * scales[2]
    np.testing.assert_allclose(biases, normal(6), atol=scales[2].max())


def test_a_bias_that_is_huge_beside_its_weights_keeps_its_value() -> None:
    weight, bias = normal(6, 4, 3, 3), normal(6)
    weight[2] *= 1e-12
    model = quantize_model(parse(LAYER, w=weight, b=bias), samples(1, 4, 8, 8))
    (found,) = run(model, {"x": samples(1, 4, 8, 8)[0]})
    step = 2 * np.abs(found).max() / 255
    np.testing.assert_allclose(found[:, 2], bias[2], atol=step)


def test_dead_channels_and_dead_values_are_quantized() -> None:
    weight, bias = normal(6, 4, 3, 3), normal(6)
    weight[1] = 0
    text = (
        "(float[1,4,8,8] x) => (float[1,6,6,6] y) { v = Conv(x, w, b) z = Sub(v, v) y = Add(v, z) }"
    )
    feeds = samples(1, 4, 8, 8)
    model = quantize_model(parse(text, w=weight, b=bias), feeds)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            scale = constant(model, node.input[1])
            assert ((scale > 0) & np.isfinite(scale)).all()
    (found,) = run(model, {"x": feeds[0]})
    np.testing.assert_allclose(found[:, 1], bias[1], atol=np.abs(found).max() / 100)


def test_a_weight_that_layers_share_is_stored_once() -> None:
    text = "(float[1,4,8,8] x) => (float[1,4,4,4] y) { v = Conv(x, w) y = Conv(v, w) }"
    model = quantize_model(parse(text, w=normal(4, 4, 3, 3)), samples(1, 4, 8, 8))
    weights = [one for one in model.graph.initializer if len(one.dims) == 4]
    assert [one.data_type for one in weights] == [onnx.TensorProto.INT8]


def test_names_that_are_taken_are_left_alone() -> None:
    text = (
        "(float[1,4,8,8] x) => (float[1,4,6,6] y) "
        "{ x_scale = Conv(x, w) y_QuantizeLinear_Input = Relu(x_scale) "
        "y = Sigmoid(y_QuantizeLinear_Input) }"
    )
    model = quantize_model(parse(text, w=normal(4, 4, 3, 3)), samples(1, 4, 8, 8))
    onnx.checker.check_model(model, full_check=True)
    assert len(run(model, {"x": samples(1, 4, 8, 8)[0]})) == 1


def test_constants_that_are_joined_become_8_bit() -> None:
    text = (
        "(float[1,4,8,8] x) => (float[1,6,6,6] y) "
        "{ v = Conv(x, w) c = Concat<axis=1>(v, k) y = Abs(c) }"
    )
    feeds = samples(1, 4, 8, 8)
    extra = normal(1, 2, 6, 6)
    model = quantize_model(parse(text, w=normal(4, 4, 3, 3), k=extra), feeds)
    (found,) = run(model, {"x": feeds[0]})
    np.testing.assert_allclose(found[:, 4:], np.abs(extra), atol=np.abs(found).max() / 50)
    assert furiosa_ep.explain(model).partitions


def test_an_output_that_a_unit_reads_is_given_in_float() -> None:
    text = (
        "(float[1,4,8,8] x) => (float[1,4,6,6] v, float[1,4,4,4] y) "
        "{ v = Conv(x, w) y = Conv(v, w) }"
    )
    model = quantize_model(parse(text, w=normal(4, 4, 3, 3)), samples(1, 4, 8, 8))
    v, y = run(model, {"x": samples(1, 4, 8, 8)[0]})
    assert v.dtype == y.dtype == np.float32


def test_what_is_kept_in_float_reads_and_gives_floats() -> None:
    text = (
        "(float[1,4,8,8] x) => (float[1,4,2,2] y) { a = Conv(x, w) b = Conv(a, w) y = Conv(b, w) }"
    )
    model = quantize_model(parse(text, w=normal(4, 4, 3, 3)), samples(1, 4, 8, 8), keep_float=["b"])
    kept = next(node for node in model.graph.node if "b" in node.output)
    assert kept.input[1] == "w"
    assert constant(model, "w").dtype == np.float32
    assert op_types(model).count("Conv") == 3


some = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@some
@given(seed=st.integers(0, 10**6), preset=st.sampled_from(["default", "min-max"]))
def test_random_models_are_the_same_on_both_providers(seed: int, preset: str) -> None:
    model = random_model(seed, 10)
    shapes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    feeds = [
        {name: normal(*shape, seed=number) for name, shape in shapes.items()} for number in range(3)
    ]
    quantized = quantize_model(model, feeds, preset)
    onnx.checker.check_model(quantized, full_check=True)
    for feed in feeds:
        on_cpu, on_npu = run(quantized, feed), run(quantized, feed, "FuriosaProvider")
        for one, other in zip(on_cpu, on_npu, strict=True):
            np.testing.assert_array_equal(one, other)

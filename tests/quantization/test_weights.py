"""Layers, and weights as integers and scales."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.quantization import QuantizationError
from furiosa_ep.quantization.weights import (
    LARGEST_BIAS,
    SMALLEST_SCALE,
    Layer,
    layers,
    quantize_weight,
    raise_for_bias,
)
from tests.quantization.optimizing import normal, parse, run

# Operator, shapes of input and weights, attributes; groups, axis of scales, output channels.
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any], int, int | None]] = {
    "conv": ("Conv", (2, 4, 7, 5), (6, 4, 3, 2), {"strides": [2, 1]}, 1, 0),
    "grouped": ("Conv", (2, 4, 5, 5), (6, 2, 3, 3), {"group": 2}, 2, 0),
    "depthwise": ("Conv", (1, 4, 5, 5), (8, 1, 3, 3), {"group": 4}, 4, 0),
    "conv1d": ("Conv", (2, 3, 9), (5, 3, 4), {}, 1, 0),
    "transposed": ("ConvTranspose", (1, 4, 3, 3), (4, 5, 2, 3), {}, 1, 1),
    "transposed grouped": ("ConvTranspose", (1, 4, 3, 3), (4, 3, 2, 2), {"group": 2}, 2, None),
    "transposed depthwise": ("ConvTranspose", (1, 4, 3, 3), (4, 1, 2, 2), {"group": 4}, 4, 0),
    "gemm": ("Gemm", (3, 4), (4, 5), {}, 1, 1),
    "gemm transB": ("Gemm", (3, 4), (5, 4), {"transB": 1}, 1, 0),
    "matmul": ("MatMul", (2, 3, 4), (4, 5), {}, 1, 1),
    "batched": ("MatMul", (2, 3, 4), (2, 4, 5), {}, 2, None),
}
every_case = pytest.mark.parametrize("case", CASES)


def model_of(case: str, weight: np.ndarray[Any, Any] | None = None) -> onnx.ModelProto:
    op_type, shape, dims, attributes, *_ = CASES[case]
    array = normal(*dims) if weight is None else weight
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x", "w"], ["y"], "layer", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(array, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def layer_of(case: str) -> Layer:
    (layer,) = layers(model_of(case))
    return layer


@every_case
def test_axis_and_groups(case: str) -> None:
    layer = layer_of(case)
    assert (layer.groups, layer.axis) == CASES[case][4:]
    assert (layer.input, layer.output, layer.weight, layer.bias) == ("x", "y", "w", "")
    assert layers(model_of(case), per_channel=False)[0].axis is None


@every_case
def test_rows_are_the_weights_of_one_output_channel(case: str) -> None:
    layer = layer_of(case)
    weight = normal(*layer.dims)
    rows = layer.rows(weight)
    assert rows.ndim == 3
    assert rows.shape[0] == layer.groups
    np.testing.assert_array_equal(layer.from_rows(rows), weight)
    x = {"x": normal(*CASES[case][1])}
    # Without the weights of one row, one output channel and no other is zero.
    for group in range(rows.shape[0]):
        for row in range(rows.shape[1]):
            cut = rows.copy()
            cut[group, row] = 0
            (y,) = run(model_of(case, layer.from_rows(cut)), x)
            if case == "batched":
                zeros = np.argwhere((y == 0).all(1))
                assert zeros.tolist() == [[group, row]]
                continue
            axis = 1 if "onv" in CASES[case][0] else y.ndim - 1
            others = tuple(i for i in range(y.ndim) if i != axis)
            assert np.flatnonzero((y == 0).all(others)).tolist() == [group * rows.shape[1] + row]


@every_case
def test_scales_are_in_the_order_of_rows(case: str) -> None:
    layer = layer_of(case)
    weight = normal(*layer.dims)
    quantized = quantize_weight(weight, layer.axis)
    rows = layer.rows(weight)
    expected = np.abs(rows).max(2) if layer.axis is not None else np.abs(rows).max()
    np.testing.assert_allclose(quantized.scale * 127, expected.reshape(-1).squeeze(), rtol=1e-6)
    assert np.abs(quantized.integers).max() == 127
    step = np.broadcast_to(quantized.scale.reshape(-1, 1), (rows[:, :, 0].size, 1))
    error = np.abs(layer.rows(quantized.dequantized()) - rows).reshape(step.size, -1)
    assert (error <= step * 0.5001).all()


def test_dequantized_is_what_onnxruntime_computes() -> None:
    weight = normal(3, 4, 5) * np.float32(1e-3)
    for axis in (None, 0, 1, 2):
        quantized = quantize_weight(weight, axis)
        model = parse(
            f"() => (float[3,4,5] y) {{ y = DequantizeLinear<axis={axis or 0}>(q, s, z) }}",
            q=quantized.integers,
            s=quantized.scale,
            z=np.zeros_like(quantized.scale, np.int8),
        )
        np.testing.assert_array_equal(run(model, {})[0], quantized.dequantized())


@pytest.mark.parametrize("seed", range(5))
def test_given_scale_clips(seed: int) -> None:
    weight = normal(4, 9, seed=seed)
    quantized = quantize_weight(weight, 0, np.full(4, 0.005))
    np.testing.assert_array_equal(
        quantized.integers, np.clip(np.rint(weight / np.float64(np.float32(0.005))), -127, 127)
    )
    assert quantized.integers.min() >= -127


def test_dead_channels_have_a_scale() -> None:
    weight = normal(3, 4)
    weight[1] = 0
    quantized = quantize_weight(weight, 0)
    assert quantized.scale[1] == max(quantized.scale[0], quantized.scale[2])
    assert not quantized.integers[1].any()
    assert (quantize_weight(np.zeros((2, 3), np.float32), 0).scale > 0).all()
    assert quantize_weight(np.zeros((2, 3), np.float32), None).scale.shape == ()


def test_tiny_weights_have_normal_scales() -> None:
    quantized = quantize_weight(np.full((2, 2), 1e-41, np.float32), 0)
    assert (quantized.scale >= np.float32(SMALLEST_SCALE)).all()
    assert not quantized.integers.any()


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_weights_that_are_not_finite_are_refused(value: float, kind: str) -> None:
    weight = normal(4, 2, 3, 3)
    weight[1, 0, 0, 0] = weight[3, 1, 2, 2] = value
    (layer,) = layers(model_of("conv"))
    with pytest.raises(QuantizationError, match=f"'conv1' have {kind} .* channels 1, 3:"):
        quantize_weight(weight, layer.axis, layer="conv1")
    with pytest.raises(QuantizationError, match=f"{kind} in them:"):
        quantize_weight(weight, None)


def test_scales_are_raised_for_biases() -> None:
    scale = np.array([1e-12, 1.0, 1e-3], np.float32)
    bias = np.array([50.0, 50.0, 0.0], np.float32)
    raised = raise_for_bias(scale, 1e-4, bias)
    assert raised.dtype == np.float32
    np.testing.assert_array_equal(raised[1:], scale[1:])
    np.testing.assert_allclose(50 / (1e-4 * raised[0]), LARGEST_BIAS, rtol=1e-5)
    single = raise_for_bias(np.array(1e-12, np.float32), 1e-4, bias)
    assert single.shape == ()
    assert single == raised[0]
    assert (
        raise_for_bias(np.array([1e-37], np.float32), 1e-6, None) * 1e-6 >= SMALLEST_SCALE * 0.999
    )


def test_biases_and_what_is_no_layer() -> None:
    model = parse(
        """(float[2,4] x, float[4,4] v) => (float[2,4] y) {
            a = Gemm(x, w, b)
            c = Gemm(a, w, row)
            d = Gemm(c, w, one)
            e = Gemm(d, w, every)
            f = Gemm(e, w, v)
            g = MatMul(f, v)
            h = MatMul(w, g)
            y = MatMul(f, w)
        }""",
        w=normal(4, 4),
        b=normal(4),
        row=normal(1, 4),
        one=normal(1),
        every=normal(2, 4),
    )
    found = layers(model)
    assert [one.bias for one in found] == ["b", "row", "", "", "", ""]
    assert [one.output for one in found] == ["a", "c", "d", "e", "f", "y"]
    assert [one.takes_bias for one in found] == [True, True, False, False, False, False]


def test_weights_read_along_two_axes_have_one_scale() -> None:
    model = parse(
        """(float[2,4] x) => (float[2,4] y) {
            a = Gemm(x, w)
            y = Gemm<transB=1>(a, w)
        }""",
        w=normal(4, 4),
    )
    assert [one.axis for one in layers(model)] == [None, None]

"""CONV_TRANSPOSE: the reference against ONNX Runtime, native against the reference."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.kernels.reference.conv_transpose import product_block
from tests.kernels.conv_case import assert_same
from tests.kernels.one_command import check_native
from tests.kernels.qdq_model import (
    Array,
    QdqModel,
    Quantization,
    QuantizedConstant,
    channels_first,
    channels_last,
    random_bytes,
)

CASES: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], ...] = (
    ((1, 24, 8, 8), (24, 24, 2, 2), {"strides": [2, 2]}),
    ((1, 24, 8, 8), (24, 1, 2, 2), {"strides": [2, 2]}),
    ((2, 8, 5, 7), (8, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 8, 5, 7), (8, 3, 3, 3), {"strides": [2, 3], "output_padding": [1, 2]}),
    ((1, 8, 5, 7), (8, 3, 3, 3), {"dilations": [2, 3]}),
    ((1, 12, 5, 7), (12, 3, 4, 4), {"group": 3, "strides": [2, 2], "pads": [1, 0, 1, 2]}),
    ((1, 4, 6, 6), (4, 1, 3, 3), {"group": 4}),
    ((1, 130, 12, 12), (130, 5, 2, 2), {}),
    ((1, 200, 16, 16), (200, 3, 2, 2), {"strides": [2, 2]}),
    ((1, 300, 4, 4), (300, 2, 2, 2), {"strides": [2, 2]}),
)


def attributes_of(node: dict[str, Any], block: int) -> dict[str, Any]:
    strides, dilations = node.get("strides", [1, 1]), node.get("dilations", [1, 1])
    pads = node.get("pads", [0, 0])
    return {
        "stride_h": strides[0],
        "stride_w": strides[1],
        "dilation_h": dilations[0],
        "dilation_w": dilations[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
        "group": node.get("group", 1),
        "block": block,
    }


def device_weights(w: Array) -> Array:
    """[C, O/group, kh, kw] as the opcode takes them."""
    return np.ascontiguousarray(w.transpose(0, 2, 3, 1))


def random_weights(
    rng: np.random.Generator, dims: tuple[int, ...], group: int
) -> tuple[QuantizedConstant, QuantizedConstant]:
    """Weights [C, O/group, kh, kw] and a bias, quantised per channel."""
    values = rng.integers(-127, 128, dims).astype(np.int8)
    scales = rng.uniform(0.001, 0.02, dims[1]).astype(np.float32)
    bias = rng.integers(-3000, 3000, dims[1] * group).astype(np.int32)
    bias_scales = rng.uniform(0.001, 0.01, dims[1] * group).astype(np.float32)
    return QuantizedConstant(values, scales, 1), QuantizedConstant(bias, bias_scales, 0)


@pytest.mark.parametrize(("x_dims", "w_dims", "node"), CASES)
@pytest.mark.parametrize("with_bias", [False, True])
def test_reference_equals_onnxruntime(
    x_dims: tuple[int, ...], w_dims: tuple[int, ...], node: dict[str, Any], with_bias: bool
) -> None:
    rng = np.random.default_rng(0)
    group = node.get("group", 1)
    x, (w, bias) = random_bytes(rng, x_dims), random_weights(rng, w_dims, group)
    x_params = Quantization(np.float32(rng.uniform(0.01, 0.1)), int(rng.integers(256)))
    y_params = Quantization(x_params.scale * np.float32(x_dims[1] ** 0.5 / 10), 120)
    constants = [w, bias] if with_bias else [w]
    expected = QdqModel("ConvTranspose", x_params, y_params, node, [*constants]).run(x)
    block = product_block(x_dims[2] * x_dims[3], x_dims[1] // group)
    attributes = attributes_of(node, block)
    attributes |= x_params.parameters("x") | y_params.parameters("y")
    actual = np.zeros_like(channels_last(expected))
    optional = [bias.floats if with_bias else None, None]
    operands = [channels_last(x), device_weights(w.floats), *optional]
    REFERENCE["CONV_TRANSPOSE"](operands, attributes, actual)
    assert_same(channels_first(actual), expected)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_native_equals_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = int(rng.choice([1, 1, 2, 3]))
    depth, width = group * int(rng.choice([1, 3, 16, 40])), int(rng.choice([1, 3, 8, 24, 33]))
    kernel, stride = rng.integers(1, 5, 2).tolist(), rng.integers(1, 4, 2).tolist()
    node = {
        "strides": stride,
        "dilations": rng.integers(1, 3, 2).tolist(),
        "pads": rng.integers(0, 3, 2).tolist(),
        "group": group,
    }
    attributes = attributes_of(node, int(rng.choice([1, 7, 16, 128])))
    x_params = Quantization(np.float32(rng.uniform(0.01, 0.1)), int(rng.integers(256)))
    y_params = Quantization(x_params.scale * np.float32(depth**0.5 / 10), 120)
    attributes |= x_params.parameters("x") | y_params.parameters("y")
    x = random_bytes(rng, (*rng.integers(1, 8, 2).tolist(), int(rng.choice([1, 5, 40])), depth))
    w, bias = random_weights(rng, (depth, width, *kernel), group)
    dims = (x.shape[0], *rng.integers(1, 50, 2).tolist(), width * group)
    dtype = (np.uint8, np.float32)[rng.integers(2)]
    constants = [
        device_weights(w.floats),
        bias.floats if rng.integers(2) else None,
        random_bytes(rng, (256,)) if dtype is np.uint8 and rng.integers(2) else None,
    ]
    check_native("CONV_TRANSPOSE", x, constants, attributes, (dims, dtype), rng, True)


@pytest.mark.parametrize("kernel", [(2, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize(
    ("x_dims", "width"),
    [
        ((1, 1, 64, 24), 24),
        ((1, 5, 13, 24), 1),
        ((2, 3, 21, 17), 2),
        ((1, 1, 63, 1), 3),
        ((3, 4, 33, 40), 17),
        ((1, 2, 160, 8), 16),
    ],
)
@pytest.mark.parametrize("values", ["random", "ties", "special"])
def test_patches_side_by_side(
    x_dims: tuple[int, ...], width: int, kernel: tuple[int, int], values: str
) -> None:
    rng = np.random.default_rng(width)
    attributes = attributes_of({"strides": list(kernel)}, 16)
    x_params = Quantization(np.float32(0.5 if values == "ties" else 0.03), 100)
    y_params = Quantization(np.float32(1 if values == "ties" else 0.07), 120)
    attributes |= x_params.parameters("x") | y_params.parameters("y")
    w = rng.normal(size=(x_dims[3], *kernel, width)).astype(np.float32)
    if values == "ties":  # sums are multiples of a half
        w = np.round(w)
    if values == "special":
        w[rng.random(w.shape) < 0.1 / x_dims[3]] = np.inf
        w[rng.random(w.shape) < 0.1 / x_dims[3]] = 3e38
    tables = (None, random_bytes(rng, (256,)), random_bytes(rng, (width, 256)))
    for table in tables:
        bias = None if table is None else rng.integers(-20, 20, width).astype(np.float32)
        x = random_bytes(rng, x_dims)
        dims = (x_dims[0], x_dims[1] * kernel[0], x_dims[2] * kernel[1], width)
        with np.errstate(all="ignore"):
            check_native(
                "CONV_TRANSPOSE", x, [w, bias, table], attributes, (dims, np.uint8), rng, True
            )

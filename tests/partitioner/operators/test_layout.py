"""Operators compute as in the layout that ONNX Runtime has chosen."""

import numpy as np
import pytest

from tests.partitioner.operators.qdq import Qdq, check


def conv(q: Qdq, x: str, channels: int, filters: int, size: int = 3) -> str:
    """A convolution and its quantization."""
    node = q.node("Conv", [x, q.weights((filters, channels, size, size), 0)], pads=[size // 2] * 4)
    return requantized(q, str(node), 0.05 * channels**0.5 * size, 128)


def requantized(q: Qdq, x: str, scale: float, zero_point: int) -> str:
    params = q.params(scale, zero_point)
    return q.dequantize(str(q.node("QuantizeLinear", [x, *params])), params)


def mean(q: Qdq, x: str, axes: list[int], keepdims: int, scale: float) -> str:
    """A mean with the scale of x, so that many results lie near the middle of two bytes."""
    node = q.node("ReduceMean", [x, q.constant(axes, np.int64)], keepdims=keepdims)
    return requantized(q, str(node), scale, 128)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("axes", [[2, 3], [1], [3]], ids=str)
@pytest.mark.parametrize("behind", ["conv", "sigmoid, conv", "output", "gemm"])
def test_means_behind_a_convolution(batch: int, axes: list[int], behind: str) -> None:
    for seed in range(4):
        q = Qdq(seed, opset=18)
        x = conv(q, q.x(batch, 8, 16, 12, scale=0.1), 8, 64)
        # A power of two of elements and one scale make exact ties, where every rounding shows.
        scale = 0.05 * 8**0.5 * 3
        if behind == "gemm":
            y = mean(q, x, [2, 3], 0, scale)
            q.y(str(q.node("Gemm", [y, q.weights((5, 64))], transB=1)))
        else:
            y = mean(q, x, axes, 1, scale)
            if behind == "sigmoid, conv":
                y = requantized(q, str(q.node("Sigmoid", [y])), 1 / 256, 0)
            if behind != "output":
                y = conv(q, y, 1 if axes == [1] else 64, 24, 1)
            q.output(str(q.node("QuantizeLinear", [y, *q.params(0.3, 128)])))
        check(q)


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("behind", ["conv", "output"])
@pytest.mark.parametrize("mode", ["half_pixel", "align_corners", "asymmetric"])
def test_linear_resize_behind_a_convolution(behind: str, mode: str, between: bool) -> None:
    q = Qdq(0, opset=18)
    x = conv(q, q.x(2, 8, 9, 7, scale=0.1), 8, 16)
    if between:
        x = requantized(q, str(q.node("LeakyRelu", [x])), 0.05 * 8**0.5 * 3, 128)
    scales = q.constant([1, 1, 2.5, 1.7], np.float32)
    node = q.node("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode=mode)
    y = requantized(q, str(node), 0.05 * 8**0.5 * 3, 128)
    if behind == "conv":
        y = conv(q, y, 16, 24, 1)
    q.output(str(q.node("QuantizeLinear", [y, *q.params(0.3, 128)])))
    check(q)

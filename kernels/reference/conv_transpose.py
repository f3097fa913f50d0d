"""CONV_TRANSPOSE: in float32, as ONNX Runtime's matrix product and col2im add."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._accumulate import fma
from furiosa_ep.kernels.reference._float import store, to_float
from furiosa_ep.kernels.reference._registry import Attributes, Operands, present, reference

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@reference("CONV_TRANSPOSE")
def conv_transpose(operands: Operands, attributes: Attributes, out: Array) -> None:
    """x[N,H,W,C], w f32[C,kh,kw,O/group], bias f32[O] -> out[N,OH,OW,O].

    For every tap of every output pixel that meets an input pixel, product = the sum of x * w over
    the channels of the group: a chain of fused multiply-adds from 0 for each `block` channels, and
    these sums added in order. The products of an output pixel are added tap by tap, row by row of
    the kernel, then the bias.
    """
    x, w = present(operands[0]), present(operands[1])
    bias, table = operands[2:]
    depth, kernel_h, kernel_w, width = w.shape
    group = attributes["group"]
    values = to_float(x, attributes).reshape(*x.shape[:3], group, depth // group)
    weights = w.reshape(group, depth // group, kernel_h, kernel_w, width)
    total = np.zeros((*out.shape[:3], group, width), np.float32)
    for ky in range(kernel_h):
        from_y, to_y = _pairs(attributes, "h", ky, x.shape[1], out.shape[1])
        for kx in range(kernel_w):
            from_x, to_x = _pairs(attributes, "w", kx, x.shape[2], out.shape[2])
            pixels = values[:, from_y][:, :, from_x]
            product = _product(pixels, weights[:, :, ky, kx], attributes["block"])
            with np.errstate(over="ignore", invalid="ignore"):
                total[np.ix_(np.arange(len(x)), to_y, to_x)] += product
    result = total.reshape(out.shape)
    if bias is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            result = result + bias
    store(result, attributes, table, out)


def _product(x: Floats, w: Floats, block: int) -> Floats:
    """x[..., group, depth] times w[group, depth, width]."""
    total = np.zeros((*x.shape[:-1], w.shape[-1]), np.float32)
    for first in range(0, x.shape[-1], block):
        part = np.zeros_like(total)
        for k in range(first, min(first + block, x.shape[-1])):
            part = fma(x[..., k : k + 1], w[:, k], part)
        total = total + part
    return total


def _pairs(
    attributes: Attributes, axis: str, tap: int, size: int, out_size: int
) -> tuple[Array, Array]:
    """The input rows (or columns) that a tap sends to output rows inside the result, and those."""
    to = np.arange(size) * attributes[f"stride_{axis}"] + tap * attributes[f"dilation_{axis}"]
    to -= attributes["pad_top" if axis == "h" else "pad_left"]
    inside = (to >= 0) & (to < out_size)
    return np.flatnonzero(inside), to[inside]


def product_block(pixels: int, depth: int) -> int:
    """The `block` with which ONNX Runtime multiplies on one thread.

    `pixels` is height * width of the input, `depth` its channels per group. With more threads the
    block is the same unless pixels < depth and depth > 128.
    """
    block, width = 128, 128
    if pixels < depth:
        while width > 16 and width // 2 >= pixels:
            block, width = block * 2, width // 2
    return block

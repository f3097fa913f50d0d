"""CONV: convolution of bytes by integers; also Gemm and MatMul with constant weights."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._accumulate import dequantise, fma, requantise, wrap_int32
from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference

Array = npt.NDArray[Any]


@reference("CONV")
def conv(operands: Operands, attributes: Attributes, out: Array) -> None:
    """x[N,H,W,C], w[O,kh,kw,C/group], bias i32[O], multiplier f32[O] -> out[N,OH,OW,O].

    accumulator = bias + sum((x - x_zero_point) * w), modulo 2**32. A float32 result is
    f32(accumulator) * multiplier. A byte is requantised, then looked up in the table, then added
    to the residual (as QLinearAdd does), then looked up in the residual table.
    """
    x, w, bias, multiplier = (present(operand) for operand in operands[:4])
    table, residual, residual_table = operands[4:]
    accumulator = wrap_int32(_accumulate(x, w, attributes, out.shape) + bias)
    if out.dtype == np.float32:
        out[...] = dequantise(accumulator, multiplier)
        return
    q = lookup(table, requantise(accumulator, multiplier, attributes["y_zero_point"]))
    if residual is not None:
        q = lookup(residual_table, _add(q, residual, attributes))
    out[...] = q


def _accumulate(x: Array, w: Array, attributes: Attributes, dims: tuple[int, ...]) -> Array:
    """The sums as float64, which holds them exactly: they stay far below 2**53."""
    batch, out_h, out_w, out_channels = dims
    _, kernel_h, kernel_w, depth = w.shape
    group = attributes["group"]
    weights = w.reshape(group, out_channels // group, kernel_h, kernel_w, depth).astype(np.float64)
    total = np.zeros((group, batch * out_h * out_w, out_channels // group))
    for ky in range(kernel_h):
        rows, inside_h = _positions(attributes, "h", ky, out_h, x.shape[1])
        for kx in range(kernel_w):
            columns, inside_w = _positions(attributes, "w", kx, out_w, x.shape[2])
            tap = x[:, rows][:, :, columns].astype(np.float64) - attributes["x_zero_point"]
            tap *= (inside_h[:, None] & inside_w)[None, :, :, None]
            grouped = tap.reshape(-1, group, depth).transpose(1, 0, 2)
            total += grouped @ weights[:, :, ky, kx].transpose(0, 2, 1)
    return total.transpose(1, 0, 2).reshape(dims)


def _positions(
    attributes: Attributes, axis: str, tap: int, count: int, size: int
) -> tuple[Array, Array]:
    """Where a tap reads along one axis, clipped to the image, and whether that is inside it."""
    first = tap * attributes[f"dilation_{axis}"]
    first -= attributes["pad_top" if axis == "h" else "pad_left"]
    at = first + np.arange(count) * attributes[f"stride_{axis}"]
    return np.clip(at, 0, size - 1), (at >= 0) & (at < size)


def _add(q: Array, residual: Array, attributes: Attributes) -> npt.NDArray[np.uint8]:
    shift = 128 if attributes["signed"] else 0
    own, other = q.astype(np.float32) - shift, residual.astype(np.float32) - shift
    own_scale = np.float32(attributes["conv_scale"])
    other_scale = np.float32(attributes["residual_scale"])
    offset = np.float32(attributes["residual_offset"])
    if attributes["residual_first"]:
        total = fma(other, other_scale, fma(own, own_scale, offset))
    else:
        total = fma(own, own_scale, fma(other, other_scale, offset))
    return (np.rint(np.clip(total, -shift, 255 - shift)) + shift).astype(np.uint8)

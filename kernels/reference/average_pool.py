"""AVERAGE_POOL: the mean over a window, as QLinearAveragePool sums it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._float import to_float
from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference

Array = npt.NDArray[Any]


@reference("AVERAGE_POOL")
def average_pool(operands: Operands, attributes: Attributes, out: Array) -> None:
    """x[N,H,W,C] -> out[N,OH,OW,C].

    sum = float32 sum of the dequantised elements of the window inside the image, row by row;
    y = clamp(rne(fl(fl(fl(sum / count) / y_scale) + y_zero_point))). The count is that of the
    elements inside the image, or kernel_h * kernel_w where count_include_pad is set. What exceeds
    int32 before the clamp becomes the least byte, also where it is large and positive. With
    `signed`, bytes and zero point of y are taken less 128 while they are float.
    """
    x, table = present(operands[0]), operands[1]
    floats = to_float(x, attributes)
    total = np.zeros(out.shape, np.float32)
    count = np.zeros((*out.shape[1:3], 1), np.float32)
    for ky in range(attributes["kernel_h"]):
        rows, inside_h = _positions(attributes, "h", ky, out.shape[1], x.shape[1])
        for kx in range(attributes["kernel_w"]):
            columns, inside_w = _positions(attributes, "w", kx, out.shape[2], x.shape[2])
            inside = (inside_h[:, None] & inside_w)[:, :, None]
            with np.errstate(over="ignore", invalid="ignore"):
                total = np.where(inside, total + floats[:, rows][:, :, columns], total)
            count += inside
    if attributes["count_include_pad"]:
        count[...] = attributes["kernel_h"] * attributes["kernel_w"]
    with np.errstate(all="ignore"):
        scaled = (total / count) / np.float32(attributes["y_scale"])
        shift = 128 if attributes["signed"] else 0
        rounded = np.rint(scaled + np.float32(attributes["y_zero_point"] - shift)) + shift
        q = np.where(np.abs(rounded) < 2**31, np.clip(rounded, 0, 255), 0).astype(np.uint8)
    out[...] = lookup(table, q)


def _positions(
    attributes: Attributes, axis: str, tap: int, count: int, size: int
) -> tuple[Array, Array]:
    """Where a tap reads along one axis, clipped to the image, and whether that is inside it."""
    first = tap * attributes[f"dilation_{axis}"]
    first -= attributes["pad_top" if axis == "h" else "pad_left"]
    at = first + np.arange(count) * attributes[f"stride_{axis}"]
    return np.clip(at, 0, size - 1), (at >= 0) & (at < size)

"""RESIZE_LINEAR: bilinear interpolation."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._float import store, to_float
from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference

Array = npt.NDArray[Any]

FLOAT, TRUNCATED, FIXED = 0, 1, 2
"""The values of `kind`: float32 between DequantizeLinear and QuantizeLinear; on bytes with float32
weights; on bytes with weights of 10 bits."""


@reference("RESIZE_LINEAR")
def resize_linear(operands: Operands, attributes: Attributes, out: Array) -> None:
    """x[N,H,W,C] -> out[N,OH,OW,C], from two rows [OH,2] and two columns [OW,2] with weights each.

    With p = x[row, column] and w = fl(row_weight * column_weight), the result is the float32 sum
    of fl(w * p) in the order (0,0), (0,1), (1,0), (1,1) of (row, column). For kind FLOAT, p is
    dequantised and the sum quantised; for TRUNCATED p is the byte, and so is the sum, without its
    fraction. For FIXED, the weights are counts of 1/1024, the sum is of integers and shifted right
    by 20. TRUNCATED and FIXED ignore scales and zero points.
    """
    x, rows, row_weights, columns, column_weights = map(present, operands[:5])
    table = operands[5]
    kind = attributes["kind"]
    values: Array = to_float(x, attributes) if kind == FLOAT else x.astype(np.float32)
    if kind == FIXED:
        values = x.astype(np.int64)
        row_weights, column_weights = row_weights.astype(np.int64), column_weights.astype(np.int64)
    total: Array = np.zeros(out.shape, values.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (row_weights[:, None, i] * column_weights[:, j])[:, :, None]
            total = total + weight * values[:, rows[:, i]][:, :, columns[:, j]]
    if kind == FLOAT:
        store(total, attributes, table, out)
    else:
        out[...] = lookup(table, (total if kind == TRUNCATED else total >> 20).astype(np.uint8))


def interpolation(
    resized: int, original: int, scale: float, mode: str, kind: int = FLOAT
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Indices [resized,2] and weights [resized,2] along one axis, as Resize computes them.

    `scale` is the one in the node's `scales`, or fl(resized / original) where `sizes` is given;
    `mode` the coordinate_transformation_mode: half_pixel, pytorch_half_pixel, asymmetric,
    align_corners or half_pixel_symmetric.

    Raises:
        ValueError: for any other mode.
    """
    last = np.float32(original - 1)
    at = np.clip(original_coordinate(resized, original, np.float32(scale), mode), 0, last)
    low = np.minimum(at.astype(np.int32), original - 1)
    high = np.minimum(low + 1, original - 1)
    indices = np.stack([low, high], axis=1)
    if kind == FIXED:
        fixed = (at * np.float32(1024)).astype(np.int32)
        distance = np.abs(fixed[:, None] - indices * 1024).astype(np.float32)
    else:
        distance = np.abs(at[:, None] - indices.astype(np.float32))
    distance[low == high] = 512 if kind == FIXED else 0.5
    return indices, np.ascontiguousarray(distance[:, ::-1])


def original_coordinate(
    resized: int, original: int, scale: np.float32, mode: str
) -> npt.NDArray[np.float32]:
    """Where every index of a resized axis lies in the original one; modes as in `interpolation`."""
    position = np.arange(resized, dtype=np.float32)
    half = np.float32(0.5)
    if scale == 1:
        return position
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and resized > 1):
        return (position + half) / scale - half
    if mode == "pytorch_half_pixel" or (mode == "align_corners" and resized == 1):
        return np.zeros(resized, np.float32)
    if mode == "asymmetric":
        return position / scale
    if mode == "align_corners":
        return position * np.float32(original - 1) / np.float32(resized - 1)
    if mode == "half_pixel_symmetric":
        adjustment = np.float32(resized) / (scale * np.float32(original))
        offset = np.float32(original) / np.float32(2) * (np.float32(1) - adjustment)
        exact = float(offset) + (np.arange(resized) + 0.5) / float(scale) - 0.5
        return exact.astype(np.float32)
    raise ValueError(f"coordinate_transformation_mode {mode!r} has no linear interpolation")

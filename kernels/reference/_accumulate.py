"""From int32 accumulators to stored bytes: what CONV and MATMUL share."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def wrap_int32(exact: Array) -> npt.NDArray[np.int32]:
    """Integers (as int64 or as float64 below 2**53) modulo 2**32, as the device adds them."""
    return exact.astype(np.int64).astype(np.uint32).view(np.int32)


def requantise(
    accumulator: npt.NDArray[np.int32], multiplier: Array, zero_point: int
) -> npt.NDArray[np.uint8]:
    """clamp(rne(f32(accumulator) * multiplier) + zero_point, 0, 255); a NaN becomes 0.

    `multiplier` is float32, one value or one per index of the last dim.
    """
    low, high = np.float32(-zero_point), np.float32(255 - zero_point)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = accumulator.astype(np.float32) * np.float32(multiplier)
    clamped = np.minimum(np.where(scaled > low, scaled, low), high)
    return (np.rint(clamped).astype(np.int32) + zero_point).astype(np.uint8)


def dequantise(accumulator: npt.NDArray[np.int32], multiplier: Array) -> npt.NDArray[np.float32]:
    """fl(f32(accumulator) * multiplier), with `multiplier` as in requantise."""
    with np.errstate(over="ignore", invalid="ignore"):
        return accumulator.astype(np.float32) * np.float32(multiplier)


def fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The sum a * b + c of float32 operands, rounded once."""
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)  # exact: 48 bits
    addend = np.asarray(c, np.float64)
    total = product + addend
    rest = total - product
    error = (product - (total - rest)) + (addend - rest)  # what rounding the sum lost, exactly
    # Rounding to odd keeps the second rounding, to float32, from seeing a false tie.
    bits = total.view(np.int64)
    away = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & (bits & 1 == 0), bits + away, bits)
    return odd.view(np.float64).astype(np.float32)

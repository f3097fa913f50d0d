"""SOFTMAX: exponentials from a table, as QLinearSoftmax sums and divides them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference

Array = npt.NDArray[Any]


@reference("SOFTMAX")
def softmax(operands: Operands, attributes: Attributes, out: Array) -> None:
    """x[..., D], exp_table f32[256] -> out[..., D], over the last dim.

    e = exp_table[x + 255 - max(x)]; sum = the float32 sum of e in order;
    v = rne(fl(fl(e * floor(fl(1 / y_scale))) / sum)), where fl rounds to floats of `precision`
    bits. With 64, y = clamp(v + y_zero_point, 0, 255). With 32, y = min(u32(v) + y_zero_point, 255)
    modulo 2**32; u32 is the conversion of x86: modulo 2**32, and 0 from 2**63 on and for NaN.
    """
    x, exponentials, table = present(operands[0]), present(operands[1]), operands[2]
    index = x.astype(np.int64) + 255 - x.max(axis=-1, keepdims=True)
    exponential = exponentials[index]
    total = np.zeros((*x.shape[:-1], 1), np.float32)
    real = np.float64 if attributes["precision"] == 64 else np.float32
    with np.errstate(all="ignore"):
        for i in range(x.shape[-1]):
            total = total + exponential[..., i : i + 1]
        factor = np.floor(real(1) / real(np.float32(attributes["y_scale"])))
        quotient = np.rint(exponential.astype(real) * factor / total)
    zero_point = np.uint32(attributes["y_zero_point"])
    if real is np.float64:
        y = np.minimum(quotient + zero_point, 255)
    else:
        fits = np.abs(quotient) < 2.0**63
        word = np.where(fits, quotient, 0).astype(np.int64).astype(np.uint32)
        y = np.minimum(word + zero_point, 255)
    out[...] = lookup(table, y.astype(np.uint8))


def exp_table(x_scale: np.float32, length: int) -> npt.NDArray[np.float32]:
    """The table of exponentials of QLinearSoftmax for an axis of `length` elements.

    Entry i is exp((i - 255) * x_scale), shifted up as far as the sum cannot overflow float32.
    """
    scale = float(x_scale)
    room = np.float32(math.log(np.finfo(np.float32).max / np.float32(length)))
    shift = max(0.0, float(room) - 5) / scale
    with np.errstate(over="ignore"):
        return np.array([_exp((i - 255 + shift) * scale) for i in range(256)], np.float32)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf

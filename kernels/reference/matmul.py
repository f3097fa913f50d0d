"""MATMUL: the product of two matrices of bytes, both computed at run time."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._accumulate import dequantise, requantise, wrap_int32
from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference


@reference("MATMUL")
def matmul(operands: Operands, attributes: Attributes, out: npt.NDArray[Any]) -> None:
    """a[..B,M,K], b[..B,K,N] -> out[..B,M,N], accumulated and requantised as CONV."""
    a, b, table = present(operands[0]), present(operands[1]), operands[2]
    left = a.astype(np.float64) - attributes["a_zero_point"]
    right = b.astype(np.float64) - attributes["b_zero_point"]
    accumulator = wrap_int32(left @ right)
    multiplier = np.asarray(attributes["multiplier"], np.float32)
    if out.dtype == np.float32:
        out[...] = dequantise(accumulator, multiplier)
    else:
        out[...] = lookup(table, requantise(accumulator, multiplier, attributes["y_zero_point"]))

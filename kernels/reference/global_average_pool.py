"""GLOBAL_AVERAGE_POOL: clamp(rne(f32(sum of x - zero point) * multiplier) + y_zero_point)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._accumulate import requantise
from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference


@reference("GLOBAL_AVERAGE_POOL")
def _global_average_pool(operands: Operands, attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, table = present(operands[0]), operands[1]
    sums = (x.astype(np.int32) - attributes["x_zero_point"]).sum(
        axis=(1, 2), keepdims=True, dtype=np.int32
    )
    q = requantise(
        sums, np.asarray(attributes["multiplier"], np.float32), attributes["y_zero_point"]
    )
    out[...] = lookup(table, q)

"""DequantizeLinear and QuantizeLinear around what ONNX Runtime computes in float32."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._registry import Attributes, lookup
from furiosa_ep.kernels.reference.elementwise import dequantize, quantize

Array = npt.NDArray[Any]


def to_float(q: Array, attributes: Attributes) -> npt.NDArray[np.float32]:
    """The operand x as float32."""
    return dequantize(q, attributes["x_scale"], attributes["x_zero_point"])


def store(value: npt.NDArray[np.float32], attributes: Attributes, table: Any, out: Array) -> None:
    """Writes a float32 result: as it is, or quantised and looked up in the table."""
    if out.dtype == np.float32:
        out[...] = value
    else:
        q = quantize(value, attributes["y_scale"], attributes["y_zero_point"])
        out[...] = lookup(table, q)

"""Models of one operator with one activation, in the three forms that the NPU takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.partitioner.operators.qdq import Qdq, check

IMAGE = (2, 8, 5, 6)
TYPES = (np.uint8, np.int8)


def i64(*values: int) -> npt.NDArray[np.int64]:
    """A constant of integers."""
    return np.array(values, np.int64)


def operator(
    op_type: str,
    shape: Sequence[int] = IMAGE,
    *,
    constants: Sequence[npt.ArrayLike | None] = (),
    dtype: type[np.integer[Any]] = np.uint8,
    opset: int = 17,
    form: str = "requantized",
    scale: float = 0.05,
    seed: int = 0,
    declared: Sequence[int | str] | None = None,
    **attributes: Any,
) -> Qdq:
    """DequantizeLinear, the operator, and by `form`: QuantizeLinear with other parameters
    ("requantized") or with the same ("same"), nothing ("float"); "raw" is the operator alone.
    """
    q = Qdq(seed, opset=opset, dtype=dtype)
    raw, params = q.raw(shape, declared), q.params(0.04)
    x = raw if form == "raw" else q.dequantize(raw, params)
    inputs = [x, *("" if one is None else q.constant(one) for one in constants)]
    y = q.node(op_type, inputs, **attributes)
    if form == "requantized":
        q.y(y, scale)
    elif form == "same":
        q.quantize(y, params)
    else:
        q.output(y, quantized=form == "raw")
    return q


def check_movement(op_type: str, shape: Sequence[int] = IMAGE, **details: Any) -> None:
    """An operator that moves bytes, in all forms and both types."""
    for dtype in TYPES:
        for form in ("requantized", "same", "float", "raw"):
            check(operator(op_type, shape, dtype=dtype, form=form, **details))


def check_function(op_type: str, shape: Sequence[int] = IMAGE, **details: Any) -> None:
    """An operator that computes, quantized, in both types."""
    for dtype in TYPES:
        for seed in range(2):
            check(operator(op_type, shape, dtype=dtype, seed=seed, **details))

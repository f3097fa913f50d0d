"""LP_NORMALIZATION: a vector divided by its norm."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._float import store, to_float
from furiosa_ep.kernels.reference._registry import Attributes, Operands, present, reference

Array = npt.NDArray[Any]


@reference("LP_NORMALIZATION")
def lp_normalization(operands: Operands, attributes: Attributes, out: Array) -> None:
    """x[..., D] -> out[..., D], normalised over the last dim in float32.

    The norm is the sum of |x| (p = 1) or the root of the sum of x * x (p = 2), added in order, each
    operation rounded. out = x / norm, or 0 where the norm is 0.
    """
    x = present(operands[0])
    values = to_float(x, attributes)
    norm = np.zeros((*x.shape[:-1], 1), np.float32)
    with np.errstate(all="ignore"):
        terms = np.abs(values) if attributes["p"] == 1 else values * values
        for i in range(x.shape[-1]):
            norm = norm + terms[..., i : i + 1]
        if attributes["p"] == 2:
            norm = np.sqrt(norm)
        store(np.where(norm != 0, values / norm, np.float32(0)), attributes, None, out)

"""MAX_POOL: the largest byte of each window, over the part of it that lies inside the image."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference


@reference("MAX_POOL")
def _max_pool(operands: Operands, attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, table = present(operands[0]), operands[1]
    result = np.zeros(out.shape, np.uint8)  # what a window without any tap inside gives
    for i in range(attributes["kernel_h"]):
        for j in range(attributes["kernel_w"]):
            top, rows = _taps(out.shape[1], x.shape[1], i, attributes, "h", "pad_top")
            left, columns = _taps(out.shape[2], x.shape[2], j, attributes, "w", "pad_left")
            window = (slice(None), rows[:, None], columns)
            taps = x[:, top[rows][:, None], left[columns]]
            result[window] = np.maximum(result[window], taps)
    out[...] = lookup(table, result)


def _taps(
    count: int, size: int, tap: int, attributes: Attributes, axis: str, pad: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where tap `tap` of each of `count` windows lies, and the windows for which it is inside."""
    start = np.arange(count) * attributes[f"stride_{axis}"] - attributes[pad]
    positions = start + tap * attributes[f"dilation_{axis}"]
    return positions, np.flatnonzero((positions >= 0) & (positions < size))

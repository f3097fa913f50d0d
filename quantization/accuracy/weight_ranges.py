"""Ranges of weights that lose less than those that hold every weight."""

import numpy as np

from furiosa_ep.quantization.accuracy.statistics import LayerStatistics
from furiosa_ep.quantization.weights import (
    LIMIT,
    Floats,
    Layer,
    QuantizedWeight,
    check_finite,
    magnitudes,
    quantize_weight,
    scales_of,
)

_SHARES = np.linspace(0.4, 1.0, 61)
"""Of the greatest magnitude, tried as the end of the range."""


def search_range(
    layer: Layer,
    weight: Floats,
    statistics: LayerStatistics | None = None,
    *,
    centered: bool = True,
) -> QuantizedWeight:
    """The nearest integers in the range of each channel that loses least.

    Lost are the squares of what rounding and clipping change, each times the mean square of the
    input that the weight meets where statistics tell it, or (`centered`) its variance.

    Raises:
        QuantizationError: for NaN or infinite weights.
    """
    check_finite(weight, layer.axis, layer.name)
    rows = layer.rows(weight).astype(np.float64)
    importance = np.ones((rows.shape[0], 1, rows.shape[2]))
    if statistics is not None:
        spread = statistics.square - (statistics.mean**2 if centered else 0)
        importance = np.maximum(spread, 0)[:, None, :] + statistics.noise
    whole = scales_of(magnitudes(weight, layer.axis))
    by_row = whole.reshape(rows.shape[:2] if whole.ndim else (1, 1))[:, :, None]
    least, best = np.full(by_row.shape, np.inf), by_row
    for share in _SHARES[::-1]:
        scale = by_row * share
        change = np.clip(np.rint(rows / scale), -LIMIT, LIMIT) * scale - rows
        lost = (np.square(change) * importance).sum(2, keepdims=True)
        if not whole.ndim:
            lost = lost.sum(keepdims=True)
        best = np.where(lost < least, scale, best)
        least = np.minimum(lost, least)
    return quantize_weight(weight, layer.axis, best.reshape(whole.shape), layer=layer.name)

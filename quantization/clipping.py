"""The range that loses least when numbers are held in 8 bits."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from furiosa_ep.quantization.histogram import Counts, Histogram
from furiosa_ep.quantization.ranges import STEPS

Loss: TypeAlias = Callable[[Counts, Counts, float, float], float]
"""What is lost of numbers with such counts and edges in the range from low to high."""

Interval: TypeAlias = tuple[float, float]

_COARSE = 0.5 ** np.arange(0, 12, 0.25)
_FINE = 0.5 ** np.arange(-0.25, 0.25, 1 / 32)
"""Shares of the whole range that are tried; the fine ones around the best of the coarse ones."""


def least_loss(histogram: Histogram, loss: Loss, symmetric: bool = False) -> Interval:
    """The range within the extremes of all numbers, zero among them, that loses least.

    A symmetric range reaches as far below zero as above, where there are numbers on both sides.
    """
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if symmetric and low < 0 < high:
        high = max(-low, high)
        low = -high
    counts, edges = histogram.counts_without_zeros, histogram.edges

    def best(of_share: Callable[[float], Interval]) -> Interval:
        def lost(share: float) -> float:
            return loss(counts, edges, *of_share(share))

        coarse = min(_COARSE, key=lost)
        return of_share(min(np.minimum(coarse * _FINE, 1.0), key=lost))

    if not counts.any():
        return low, high
    found = best(lambda share: (low * share, high * share))
    if symmetric or not low < 0 < high:
        return found
    found = best(lambda share: (found[0], high * share))
    return best(lambda share: (low * share, found[1]))


def squared_error(counts: Counts, edges: Counts, low: float, high: float) -> float:
    """The sum of the squares of what rounding and clipping change.

    Numbers are taken to lie evenly within their bin, so that bins may be wider than steps.
    """
    step = (high - low) / STEPS
    first = np.rint(low / step)
    nearest = np.clip(np.rint(edges / step), first, first + STEPS)
    change = edges - nearest * step
    # Its square, integrated from zero to each edge: a twelfth of the cube of every step between.
    integral = nearest * (step**3 / 12) + change * change * change / 3
    return float(np.dot(counts / np.diff(edges), np.diff(integral)))


def divergence(counts: Counts, edges: Counts, low: float, high: float) -> float:
    """The Kullback-Leibler divergence of the numbers from what their 8 bits tell of them.

    Numbers beyond the range count as its ends, and 8 bits tell how many numbers share a step.
    """
    step = (high - low) / STEPS
    if step < edges[1] - edges[0]:  # the histogram does not tell
        return math.inf
    first, last = np.searchsorted(edges, (low, high))
    first = min(first, counts.size - 1)
    last = min(max(last, first + 1), counts.size)
    inside, centers = counts[first:last], (edges[first:last] + edges[first + 1 : last + 1]) / 2
    steps = (np.rint(centers / step) - np.rint(low / step)).astype(np.intp).clip(0, STEPS)
    actual = inside.copy()
    actual[0] += counts[:first].sum()
    actual[-1] += counts[last:].sum()
    seen = actual > 0
    told = np.bincount(steps, inside) / np.maximum(np.bincount(steps, seen), 1)
    share = actual[seen] / actual.sum()
    told = np.maximum(told[steps[seen]] / max(inside.sum(), 1e-30), 1e-12)
    return float(np.dot(share, np.log(share / told)))

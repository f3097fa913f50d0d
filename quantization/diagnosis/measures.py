"""What the samples show of one 8-bit value, summed up as they come."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.quantization.diagnosis.sites import Floats, Integers, Site
from furiosa_ep.quantization.histogram import Histogram
from furiosa_ep.quantization.ranges import STEPS

LIMIT = 100.0
"""Ratios beyond so many dB are not told apart."""
BARS = 64
"""How many bars a histogram has."""
COUNTED = 1 << 16
"""How many numbers of a value in a sample its histogram counts."""


def decibels(signal: float, noise: float) -> float:
    """Those of a signal to its noise, within `LIMIT`."""
    if noise <= 0:
        return LIMIT
    if signal <= 0:
        return -LIMIT
    return float(np.clip(10 * (np.log10(signal) - np.log10(noise)), -LIMIT, LIMIT))


class Noise:
    """The power of numbers, and that of what is wrong with them."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> None:
        """Look at more numbers."""
        self.signal += power(expected)
        self.noise += power(expected - actual)

    @property
    def ratio(self) -> float:
        """Noise to signal; 1 for noise without a signal."""
        return self.noise / self.signal if self.signal else float(self.noise > 0)

    @property
    def decibels(self) -> float:
        """Signal to noise."""
        return decibels(self.signal, self.noise)


def power(array: npt.NDArray[Any]) -> float:
    """The sum of the squares."""
    flat = array.reshape(-1)
    found = float(np.dot(flat, flat))  # in float32, which does for these figures
    if np.isfinite(found):
        return found
    return float(np.square(flat, dtype=np.float64).sum())


class Measures:
    """Of one site; everything is in steps of its scale."""

    def __init__(self, site: Site, axis: int) -> None:
        self._site, self._axis = site, axis
        self._lowest = site.lowest - site.zero_point
        self.accumulated = Noise()
        """What the quantized model makes of the value, with all that lies before it."""
        self.alone = Noise()
        """What the layer makes of it that reads float values."""
        self.rounding = self.clipping = self.weights = 0.0
        """The parts of `alone`: rounding and limiting of the value, and the layer's constants."""
        self.numbers = self.outside = 0
        """All numbers, and those beyond the range by more than half a step."""
        self.codes: npt.NDArray[np.int64] = np.zeros(256, np.int64)
        """How often each 8-bit integer occurs, the least one first."""
        self.histogram = Histogram()
        self.shape: tuple[int, ...] = ()
        self._peaks: Floats = np.zeros(1, np.float32)

    def add(self, floats: Floats, integers: Integers, alone: Floats | None) -> None:
        """Look at a sample: the float value, what is in its place, and what its layer computes."""
        low, high = self._lowest, self._lowest + STEPS
        steps = floats * np.float32(1 / self._site.scale)
        held = np.clip(steps, low, high)
        rounded = np.rint(held)
        actual = integers.astype(np.float32) - np.float32(self._site.zero_point)
        self.accumulated.add(steps, actual)
        self.clipping += power(steps - held)
        self.rounding += power(held - rounded)
        if alone is None:
            self.alone.add(steps, rounded)
        else:
            computed = np.clip(alone * np.float32(1 / self._site.scale), low, high)
            self.weights += power(computed - held)
            self.alone.add(steps, np.rint(computed))
        self.numbers += steps.size
        self.outside += int(np.count_nonzero(np.abs(steps - held) > 0.5))
        self.codes += np.bincount(
            integers.reshape(-1).astype(np.int16) - self._site.lowest, minlength=256
        )
        self.shape = floats.shape
        self._add_peaks(floats)
        self._add_to_histogram(floats)

    def _add_peaks(self, floats: Floats) -> None:
        axis = self._axis % max(floats.ndim, 1)
        others = tuple(i for i in range(floats.ndim) if i != axis)
        peaks = np.atleast_1d(np.abs(floats).max(axis=others, initial=0))
        same = peaks.shape == self._peaks.shape
        self._peaks = np.maximum(self._peaks, peaks) if same else peaks

    def _add_to_histogram(self, floats: Floats) -> None:
        if not floats.size:
            return
        self.histogram.reach(float(floats.min()), float(floats.max()))
        step = max(1, floats.size // COUNTED)
        self.histogram.add(floats.reshape(-1)[::step], float(step))

    @property
    def low(self) -> float:
        """The least float number, or zero."""
        return min(self.histogram.low, 0.0)

    @property
    def high(self) -> float:
        """The greatest float number, or zero."""
        return max(self.histogram.high, 0.0)

    @property
    def steps_used(self) -> float:
        """The share of the 8-bit integers that occur at all."""
        return float(np.count_nonzero(self.codes)) / self.codes.size

    @property
    def typical_steps(self) -> float:
        """How many steps apart the numbers typically are: their root mean square, in steps."""
        return float(np.sqrt(self.accumulated.signal / max(self.numbers, 1)))

    @property
    def channel_spread(self) -> float:
        """How many times as large the largest channel is as the median one; dead ones aside."""
        alive = self._peaks[self._peaks > 0]
        return float(alive.max() / np.median(alive)) if alive.size > 1 else 1.0

    def bars(self) -> tuple[list[float], float, float]:
        """Shares of the numbers in `BARS` equal parts of all that occurs and of the range."""
        low, high = min(self.low, self._site.low), max(self.high, self._site.high)
        counts, edges = self.histogram.counts, self.histogram.edges
        if not counts.size or high <= low:
            return [0.0] * BARS, low, high
        below = np.concatenate(([0.0], np.cumsum(counts)))
        sums = np.interp(np.linspace(low, high, BARS + 1), edges, below)
        sums[[0, -1]] = below[[0, -1]]  # bins at the ends reach beyond
        return [float(share) for share in np.diff(sums) / max(below[-1], 1)], low, high

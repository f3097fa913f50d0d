"""A histogram of any number of numbers in bounded memory."""

import math

import numpy as np
import numpy.typing as npt

BINS = 8192
"""The most bins that a histogram has."""
PLENTY = 1 << 18
"""Numbers after which every fourth one tells enough of the others."""

Counts = npt.NDArray[np.float64]


class Histogram:
    """How often numbers of each size occur, and the exact extremes of all of them.

    Bins are as wide as a power of two, begin at its multiples, and reach from the lowest number or
    zero to the highest or zero. Numbers beyond them double the width by merging pairs of bins, so
    that the counts are those that `numpy.histogram` finds for all numbers together, whatever order
    they came in.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        """The lowest and the highest number so far."""
        self.zeros = 0.0
        """How many numbers are zero."""
        self._added = self._arrays = 0
        self._counts: Counts = np.zeros(BINS)
        self._first = 0
        self._exponent: int | None = None

    def reach(self, low: float, high: float) -> None:
        """Make room for numbers from low to high."""
        if low >= self.low and high <= self.high:
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        bottom, top = min(self.low, 0.0), max(self.high, 0.0)
        if bottom == top:
            return
        # A power of two that is too small by far where there is no width yet.
        start = math.frexp(max(top, -bottom))[1] - BINS.bit_length()
        old = start if self._exponent is None else self._exponent
        new = old
        while _bin(top, new) - _bin(bottom, new) >= BINS:
            new += 1
        filled = np.flatnonzero(self._counts)
        merged = np.zeros(BINS)
        np.add.at(
            merged, (filled + self._first >> new - old) - _bin(bottom, new), self._counts[filled]
        )
        self._counts, self._exponent, self._first = merged, new, _bin(bottom, new)

    def add(self, numbers: npt.NDArray[np.float32], weight: float = 1.0) -> None:
        """Count every number of an array `weight` times; all are finite and within reach.

        Once there are plenty of numbers, a fourth of each array counts for all of it.
        """
        self._arrays += 1
        if self._added >= PLENTY:
            numbers, weight = numbers[self._arrays % 4 :: 4], weight * 4
        self._added += numbers.size
        bins = numbers * np.float64(1 / self.width)
        np.floor(bins, out=bins)
        bins -= self._first
        np.add.at(self._counts, bins.astype(np.intp), weight)
        self.zeros += weight * (numbers.size - np.count_nonzero(numbers))

    @property
    def width(self) -> float:
        """The width of a bin."""
        return math.ldexp(1.0, self._exponent or 0)

    @property
    def counts(self) -> Counts:
        """How many numbers lie in each bin, its lower edge included."""
        last = math.floor(max(self.high, 0.0) / self.width)
        return self._counts[: last - self._first + 1]

    @property
    def counts_without_zeros(self) -> Counts:
        """How many numbers lie in each bin, but for zeros."""
        counts = self.counts.copy()
        if counts.size:
            counts[-self._first] -= self.zeros
        return counts

    @property
    def edges(self) -> Counts:
        """Where the bins begin, and where the last one ends."""
        bins = np.arange(self._first, self._first + self.counts.size + 1, dtype=np.float64)
        return bins * self.width

    def quantile(self, share: float) -> float:
        """The number below which this share of all numbers lies, to the width of a bin.

        Raises:
            ValueError: where nothing was counted.
        """
        below = np.concatenate(([0.0], np.cumsum(self.counts)))
        if not below[-1]:
            raise ValueError("an empty histogram has no quantiles")
        found = float(np.interp(share * below[-1], below, self.edges))
        return min(max(found, self.low), self.high)


def _bin(number: float, exponent: int) -> int:
    """The bin that a number lies in where bins are 2 to the power of the exponent wide."""
    return math.floor(math.ldexp(number, -exponent))

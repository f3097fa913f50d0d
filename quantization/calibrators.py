"""The built-in calibrators."""

import array
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from furiosa_ep.partitioner.descriptors import Calibrator
from furiosa_ep.quantization.clipping import Loss, divergence, least_loss, squared_error
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.histogram import Histogram

SAMPLE_SIZE = 4096
"""How many numbers of each array go into a histogram."""
PERCENTAGE = 99.99
"""Of all numbers, those that the range of `percentile` holds."""

Numbers: TypeAlias = npt.NDArray[np.float32]


class Extremes:
    """From the smallest to the largest value of all samples."""

    def __init__(self, symmetric: bool = False) -> None:
        self._symmetric = symmetric
        self._low = self._high = 0.0

    def collect_sample(self, low: float, high: float, _: Numbers) -> None:
        """Take note of the extremes in one sample."""
        self._low, self._high = min(self._low, low), max(self._high, high)

    def range(self) -> tuple[float, float]:
        """Smallest and largest value."""
        if self._symmetric and self._low < 0 < self._high:
            high = max(-self._low, self._high)
            return -high, high
        return self._low, self._high


class Average:
    """The averages of each sample's smallest and largest value; keeps eight bytes a sample."""

    def __init__(self) -> None:
        self._lows, self._highs = array.array("f"), array.array("f")

    def collect_sample(self, low: float, high: float, _: Numbers) -> None:
        """Take note of the extremes in one sample."""
        self._lows.append(low)
        self._highs.append(high)

    def range(self) -> tuple[float, float]:
        """Both averages."""
        low, high = (np.frombuffer(found, np.float32).mean() for found in (self._lows, self._highs))
        return float(low), float(high)


class Percentile:
    """The range that holds a percentage of all numbers, and leaves out as many at either end."""

    def __init__(self, percentage: float = PERCENTAGE, symmetric: bool = False) -> None:
        self._share, self._symmetric = percentage / 100, symmetric
        self._histogram = Histogram()
        """Of all numbers, or of their magnitudes for a symmetric range."""
        self._extremes = Extremes()

    def collect_sample(self, low: float, high: float, numbers: Numbers) -> None:
        """Count the numbers of one sample."""
        self._extremes.collect_sample(low, high, numbers)
        if self._symmetric:
            low, high, numbers = 0.0, max(-low, high), np.abs(numbers)
        self._histogram.reach(low, high)
        self._histogram.add(numbers)

    def range(self) -> tuple[float, float]:
        """The percentiles."""
        if not self._symmetric:
            left_out = (1 - self._share) / 2
            return self._histogram.quantile(left_out), self._histogram.quantile(1 - left_out)
        low, high = self._extremes.range()
        magnitude = self._histogram.quantile(self._share)
        return max(low, -magnitude), min(high, magnitude)


class LeastLoss:
    """The range that loses least by some measure, found in the histogram of all numbers."""

    def __init__(self, loss: Loss, symmetric: bool = False, relative: bool = False) -> None:
        self._loss, self._symmetric, self._relative = loss, symmetric, relative
        self._histogram = Histogram()

    def collect_sample(self, low: float, high: float, numbers: Numbers) -> None:
        """Count the numbers of one sample; for a relative loss, in shares of their power."""
        power = np.square(numbers, dtype=np.float64).sum() if self._relative else 1.0
        self._histogram.reach(low, high)
        self._histogram.add(numbers, 1 / power if power else 0.0)

    def range(self) -> tuple[float, float]:
        """The best range that was tried."""
        return least_loss(self._histogram, self._loss, self._symmetric)


def percentile(percentage: float, symmetric: bool = False) -> Calibrator:
    """A calibrator like `percentile` that holds another percentage of all numbers.

    Raises:
        QuantizationError: for something else than a percentage above 0.
    """
    if not 0 < percentage <= 100:
        raise QuantizationError(f"percentage {percentage}: expected more than 0 and at most 100")
    return Calibrator(
        f"percentile {percentage:g}", partial(Percentile, percentage, symmetric), SAMPLE_SIZE
    )


EXTREMES = Calibrator("extremes", Extremes, 0)
CALIBRATORS = (
    EXTREMES,
    Calibrator("extremes-sym", partial(Extremes, True), 0),
    Calibrator("average", Average, 0),
    Calibrator("entropy", partial(LeastLoss, divergence), SAMPLE_SIZE),
    Calibrator("entropy-sym", partial(LeastLoss, divergence, True), SAMPLE_SIZE),
    Calibrator("percentile", Percentile, SAMPLE_SIZE),
    Calibrator("percentile-sym", partial(Percentile, symmetric=True), SAMPLE_SIZE),
    Calibrator("mse", partial(LeastLoss, squared_error), SAMPLE_SIZE),
    Calibrator("mse-sym", partial(LeastLoss, squared_error, True), SAMPLE_SIZE),
    Calibrator("sqnr", partial(LeastLoss, squared_error, relative=True), SAMPLE_SIZE),
    Calibrator("sqnr-sym", partial(LeastLoss, squared_error, True, True), SAMPLE_SIZE),
)

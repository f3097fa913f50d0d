"""The built-in calibrators."""

import array

import numpy as np
import numpy.typing as npt

from furiosa_ep.partitioner.descriptors import Calibrator

Values = npt.NDArray[np.float32]


class Extremes:
    """From the smallest to the largest value of all samples."""

    def __init__(self) -> None:
        self._low, self._high = np.float32(np.inf), np.float32(-np.inf)

    def collect(self, array: Values) -> None:
        """Take note of the value in one sample."""
        self._low = np.minimum(self._low, array.min())  # unlike min, keeps NaN
        self._high = np.maximum(self._high, array.max())

    def range(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return float(self._low), float(self._high)


class Average:
    """The averages of each sample's smallest and largest value; keeps eight bytes a sample."""

    def __init__(self) -> None:
        self._lows, self._highs = array.array("f"), array.array("f")

    def collect(self, array: Values) -> None:
        """Take note of the value in one sample."""
        self._lows.append(array.min())
        self._highs.append(array.max())

    def range(self) -> tuple[float, float]:
        """Both averages."""
        low, high = (np.frombuffer(found, np.float32).mean() for found in (self._lows, self._highs))
        return float(low), float(high)


CALIBRATORS = (Calibrator("extremes", Extremes), Calibrator("average", Average))

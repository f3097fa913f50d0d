"""Calibration data, in whatever form the caller has it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader

from furiosa_ep.quantization.errors import QuantizationError

Array: TypeAlias = npt.NDArray[Any]
Feed: TypeAlias = dict[str, Array]


@runtime_checkable
class DataReader(Protocol):
    """What ONNX Runtime calls a CalibrationDataReader: one input dict a call, then None."""

    def get_next(self) -> Mapping[str, Array] | None:
        """The next sample, or None when there are no more."""


CalibrationData: TypeAlias = Iterable[npt.ArrayLike | Mapping[str, npt.ArrayLike]] | DataReader
"""Arrays (for a model of one input), dicts from input name to array, or a data reader."""


class FeedReader(CalibrationDataReader):  # type: ignore[misc]
    """The calibration data as ONNX Runtime's calibrator reads it, each feed checked by name.

    Takes one feed at a time from the source, so a generator never has to fit in memory.
    """

    def __init__(self, data: CalibrationData, input_names: Sequence[str]) -> None:
        self._input_names = tuple(input_names)
        self._source = iter(data.get_next, None) if isinstance(data, DataReader) else iter(data)
        self.count = 0

    def get_next(self) -> Feed | None:
        """The next feed, or None when there are no more."""
        for item in self._source:
            feed = self._feed(item)
            self.count += 1
            return feed
        return None

    def _feed(self, item: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Feed:
        if not isinstance(item, Mapping):
            if len(self._input_names) != 1:
                raise QuantizationError(
                    f"calibration sample {self.count} is one array, but the model has the inputs "
                    f"{', '.join(self._input_names)}: give a dict from input name to array"
                )
            item = {self._input_names[0]: item}
        if set(item) != set(self._input_names):
            raise QuantizationError(
                f"calibration sample {self.count} has the inputs {', '.join(sorted(item))}, "
                f"the model has {', '.join(sorted(self._input_names))}"
            )
        return {name: np.asarray(array) for name, array in item.items()}

"""Calibration: the ranges of a float model's activations over samples of what it will see."""

import math
import textwrap
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import cast

import numpy as np
import onnx

from furiosa_ep.partitioner.descriptors import Calibrator, RangeCollector, SampleCollector
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.probes import AT_ONCE, Observation, ProbedModel
from furiosa_ep.quantization.progress import progress
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.samples import CalibrationData, feeds


def find_calibrator(calibration: str | Calibrator) -> Calibrator:
    """The calibrator of that name that a plugin offers, or the given one.

    Raises:
        QuantizationError: where there is none of that name.
    """
    from furiosa_ep.partitioner.plugins import registry

    if isinstance(calibration, Calibrator):
        return calibration
    known: Mapping[str, Calibrator] = registry().named("furiosa_calibrators")
    if calibration not in known:
        raise QuantizationError(
            f"calibration {calibration!r}: expected one of {', '.join(known)}"
            if known
            else f"calibration {calibration!r}: no plugin offers any"
        )
    return known[calibration]


class Calibration:
    """Finds the ranges of some float values of a model, by the value's name.

    Each value has a collector of its own. The model runs on a few samples at a time, and memory
    holds the activations of these. Numbers beyond the `limits` of a value count as these.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        values: Sequence[str],
        calibrator: Calibrator,
        limits: Mapping[str, Range] = MappingProxyType({}),
    ) -> None:
        self._limits = limits
        self._inputs, self._values, self._calibrator = model.graph.input, values, calibrator
        self._model = ProbedModel(model, values, calibrator.sample_size)
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._running: deque[tuple[int, Future[dict[str, Observation]]]] = deque()
        self._collectors: dict[str, RangeCollector | SampleCollector] = {}
        self.samples = 0
        """How many there were so far."""

    def collect(self, data: CalibrationData, title: str | None = None) -> None:
        """Run the model on more samples, with a progress bar on a terminal if that has a title.

        The last samples may still be running afterwards. What is wrong with one of them is said by
        the next call of `collect` or `ranges`.

        Raises:
            QuantizationError: for a sample that the model does not take or that makes it compute
                NaN or infinity, and where the calibrator fails.
        """
        samples = feeds(data, self._inputs, self.samples)
        for feed in progress(samples, title, data) if title else samples:
            future = self._pool.submit(self._model.run, feed, self.samples)
            self._running.append((self.samples, future))
            self.samples += 1
            self.wait(AT_ONCE)

    def wait(self, left: int = 0) -> None:
        """Wait until no more than so many samples of `collect` are running.

        Raises:
            QuantizationError: like `collect`.
        """
        while len(self._running) > left:
            number, future = self._running.popleft()
            for name, observation in future.result().items():
                self._observe(name, observation, number)

    def ranges(self, title: str | None = None) -> dict[str, Range]:
        """The ranges over all samples; 0 to 0 for a value that is empty in every sample.

        A progress bar on a terminal has the title.

        Raises:
            QuantizationError: for no samples, like `collect`, and where the calibrator fails or
                finds something else than a range.
        """
        self.wait()
        if not self.samples:
            raise QuantizationError(
                "no calibration data: give at least one sample of what the model will see, or "
                f"ranges of {textwrap.shorten(', '.join(self._values), 200)}"
            )
        values = progress(self._values, title, self._values) if title else self._values
        return {name: self._range(name) for name in values}

    def _observe(self, name: str, observation: Observation, number: int) -> None:
        low, high, numbers = observation
        if not (math.isfinite(low) and math.isfinite(high)):
            found = "NaN" if math.isnan(low) or math.isnan(high) else "infinity"
            raise QuantizationError(
                f"calibration sample {number}: the value {name!r} has {found} in it, and a range "
                "holds finite numbers only; look at the sample and at what the model computes of it"
            )
        if name in self._limits:
            limits = self._limits[name]
            low, high = (float(np.clip(end, *limits)) for end in (low, high))
            numbers = np.clip(numbers, *limits)
        numbers.flags.writeable = False
        try:
            if name not in self._collectors:
                self._collectors[name] = self._calibrator.collector()
            if self._calibrator.sample_size is None:
                cast(RangeCollector, self._collectors[name]).collect(numbers)
            else:
                cast(SampleCollector, self._collectors[name]).collect_sample(low, high, numbers)
        except Exception as error:
            raise self._failed(name, error) from error

    def _range(self, name: str) -> Range:
        if name not in self._collectors:
            return Range(0.0, 0.0)
        try:
            with np.errstate(over="ignore"):
                low, high = (float(np.float32(end)) for end in self._collectors[name].range())
        except Exception as error:
            raise self._failed(name, error) from error
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise QuantizationError(
                f"{_who(self._calibrator)} finds the range {low} to {high} for the value {name!r}: "
                "expected two finite float32 numbers, the lower one first"
            )
        return Range(min(low, 0.0), max(high, 0.0))

    def _failed(self, name: str, error: Exception) -> QuantizationError:
        return QuantizationError(
            f"{_who(self._calibrator)} failed at the value {name!r}: "
            f"{type(error).__name__}: {error}"
        )


def _who(calibrator: Calibrator) -> str:
    plugin = f" of plugin {calibrator.owner!r}" if calibrator.owner else ""
    return f"calibrator {calibrator.name!r}{plugin}"

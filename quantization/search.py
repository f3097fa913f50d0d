"""Search by measurement: the options that lose least, and what has to stay in float."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import onnx
import onnxruntime as ort

from furiosa_ep.quantization.insertion import insert_qdq
from furiosa_ep.quantization.parameters import Parameters
from furiosa_ep.quantization.presets import Preset
from furiosa_ep.quantization.progress import progress
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.samples import Array, Feed
from furiosa_ep.quantization.scheme import Scheme, Unit
from furiosa_ep.quantization.weights import QuantizedWeight

SAMPLES = 32
"""So many calibration samples are run to measure a loss."""
SAMPLES_OF_UNITS = 4
"""So many to measure that of each unit alone."""
HOLD_BACK = 4
"""Presets are compared on every so many-th sample, and calibrated on the others meanwhile."""
CLEAR = 0.5
"""Another preset has to lose less than this part: samples that were held back are few, and hardly
tell what is lost on rare ones."""
PARTS = 8
"""Every so many-th unit is left in float before all others are measured again."""
CALIBRATORS_TO_TRY = ("percentile", "sqnr", "entropy", "extremes")
"""What is tried beside the calibrator of the default preset."""
METHODS = (
    "equalize",
    "smooth",
    "limit_to_functions",
    "search_weights",
    "adapt_rounding",
    "correct_bias",
)
"""What is tried to leave out."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantization:
    """All that makes a QDQ model of a float model."""

    scheme: Scheme
    parameters: Mapping[str, Parameters]
    weights: Mapping[str, QuantizedWeight]
    ranges: Mapping[str, Range]
    """Of all values that have one, those of inputs and outputs that are converted among them."""

    def model(self, units: Sequence[Unit] | None = None) -> onnx.ModelProto:
        """The QDQ model, or one in which no other units than these are quantized."""
        scheme = self.scheme if units is None else replace(self.scheme, units=tuple(units))
        parameters = {name: self.parameters[name] for name in scheme.values}
        return insert_qdq(scheme, parameters, self.weights)


class OutputLoss:
    """What quantized models lose on some samples.

    That is the squared error of an output relative to its power, or the share of its elements that
    differ where it has no floats; the mean over the outputs.
    """

    def __init__(self, model: onnx.ModelProto, samples: Iterable[Feed]) -> None:
        """Compare with what this model gives for the first samples."""
        self._feeds = list(islice(samples, SAMPLES))
        self._expected = list(_outputs(model, self._feeds))

    def __call__(self, model: onnx.ModelProto, samples: int = SAMPLES) -> float:
        """What a model loses on so many of the samples."""
        errors, powers = [], []
        outputs = _outputs(model, self._feeds[:samples])
        for expected, found in zip(self._expected, outputs, strict=False):
            pairs = [_error(*pair) for pair in zip(expected, found, strict=True)]
            errors.append([error for error, _ in pairs])
            powers.append([power for _, power in pairs])
        if not errors or not errors[0]:
            return 0.0
        power = np.maximum(np.sum(powers, 0), np.finfo(np.float32).tiny)
        return float(np.mean(np.sum(errors, 0) / power))


def best_preset(
    start: Preset, loss: Callable[[Preset], float]
) -> tuple[Preset, Sequence[tuple[str, float]]]:
    """The preset that loses least, and what was tried: first all calibrators, then the methods.

    A method that does harm is left out. What is not clearly better than `start` is not taken.
    """
    best, least = start, loss(start)
    tried = [("default", least)]
    for calibrator in CALIBRATORS_TO_TRY:
        found = loss(replace(start, calibration=calibrator))
        tried.append((f"calibration={calibrator}", found))
        if found < min(least, CLEAR * tried[0][1]):
            best, least = replace(start, calibration=calibrator), found
    for method in METHODS:
        found = loss(replace(best, **{method: False}))  # type: ignore[arg-type]
        tried.append((f"{method}=False", found))
        if found < CLEAR * least:
            best, least = replace(best, **{method: False}), found  # type: ignore[arg-type]
    for change, found in tried:
        _log.info("%s: loss %.3g", change, found)
    return best, tried


@dataclass(frozen=True)
class Part:
    """The samples that are held back to compare presets on, or all others."""

    samples: Iterable[Feed]
    held_back: bool

    def __iter__(self) -> Iterator[Feed]:
        for number, feed in enumerate(self.samples):
            if (number % HOLD_BACK == 1) == self.held_back:
                yield feed


def costly_units(quantization: Quantization, loss: OutputLoss, most: float) -> list[Unit]:
    """Units that have to stay in float such that the model loses no more than `most`.

    In each round those go without which the others lose least, a part of all that are left: what
    has neighbours in float counts for more than what reads and writes 8-bit values anyway.
    """
    left, costly = list(quantization.scheme.units), list[Unit]()
    while left and loss(quantization.model(left)) > most:
        without = {
            unit: loss(quantization.model([o for o in left if o is not unit]), SAMPLES_OF_UNITS)
            for unit in progress(left, "Measuring operators", left)
        }
        ranked = sorted(left, key=lambda unit: without[unit])[: max(1, len(left) // PARTS)]
        # Of the last ones only as many as are needed.
        for count in (2**n for n in range(len(ranked).bit_length())):
            rest = [unit for unit in left if unit not in ranked[:count]]
            if loss(quantization.model(rest)) <= most:
                ranked = ranked[:count]
                break
        costly += ranked
        left = [unit for unit in left if unit not in ranked]
    return costly


def _outputs(model: onnx.ModelProto, feeds: Iterable[Feed]) -> Iterator[list[Array]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return (session.run(None, feed) for feed in feeds)


def _error(expected: Array, found: Array) -> tuple[float, float]:
    """The error of an output, and its power."""
    if not isinstance(expected, np.ndarray) or expected.dtype.kind != "f":
        return float(np.count_nonzero(np.asarray(expected != found))), float(np.size(expected))
    wanted = expected.astype(np.float64)
    return float(np.square(wanted - found).sum()), float(np.square(wanted).sum())

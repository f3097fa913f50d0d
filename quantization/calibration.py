"""Calibration: the ranges of a float model's activations over samples of what it will see."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from furiosa_ep.partitioner.descriptors import Calibrator, RangeCollector
from furiosa_ep.quantization.errors import QuantizationError

Array: TypeAlias = npt.NDArray[Any]
Feed: TypeAlias = dict[str, Array]


class Range(NamedTuple):
    """The numbers that an activation has to hold."""

    low: np.float32
    high: np.float32


@runtime_checkable
class DataReader(Protocol):
    """What ONNX Runtime calls a CalibrationDataReader: one input dict a call, then None."""

    def get_next(self) -> Mapping[str, Array] | None:
        """The next sample, or None when there are no more."""


CalibrationData: TypeAlias = Iterable[npt.ArrayLike | Mapping[str, npt.ArrayLike]] | DataReader
"""Arrays (for a model of one input), dicts from input name to array, or a data reader."""


def feeds(data: CalibrationData, input_names: Sequence[str]) -> Iterator[Feed]:
    """The samples as a session takes them, one at a time, so that they need not fit in memory.

    Raises:
        QuantizationError: where a sample has other inputs than the model.
    """
    source = iter(data.get_next, None) if isinstance(data, DataReader) else iter(data)
    for number, item in enumerate(source):
        if not isinstance(item, Mapping):
            if len(input_names) != 1:
                raise QuantizationError(
                    f"calibration sample {number} is one array, but the model has the inputs "
                    f"{', '.join(input_names)}: give a dict from input name to array"
                )
            item = {input_names[0]: item}
        if set(item) != set(input_names):
            raise QuantizationError(
                f"calibration sample {number} has the inputs {', '.join(sorted(item))}, "
                f"the model has {', '.join(sorted(input_names))}"
            )
        yield {name: np.asarray(array) for name, array in item.items()}


def find_calibrator(name: str) -> Calibrator:
    """The calibrator of that name that a plugin offers; raises `QuantizationError` for none."""
    from furiosa_ep.partitioner.plugins import registry

    known: Mapping[str, Calibrator] = registry().named("furiosa_calibrators")
    if name not in known:
        raise QuantizationError(
            f"calibration {name!r}: expected one of {', '.join(known)}"
            if known
            else f"calibration {name!r}: no plugin offers any"
        )
    return known[name]


def calibrate(
    model: onnx.ModelProto, values: Sequence[str], samples: Iterable[Feed], calibrator: Calibrator
) -> dict[str, Range]:
    """The ranges of float values of a model over all samples, by the value's name.

    The model runs sample by sample, and each value goes to a collector of its own, so that memory
    holds one sample's activations at a time. A value that is empty in every sample has range 0 to
    0.

    Raises:
        QuantizationError: for no samples, for one that the model does not take, and where the
            calibrator fails or finds something else than a range.
    """
    inputs = {value.name for value in model.graph.input}
    computed = [name for name in values if name not in inputs]
    session = _session(model, computed)
    collectors: dict[str, RangeCollector] = {}
    number = -1
    for number, feed in enumerate(samples):
        # A session that is asked for no output gives all.
        found = zip(computed, _run(session, computed, feed, number), strict=False)
        arrays = {**feed, **dict(found)}
        for name in values:
            array = np.asarray(arrays[name], np.float32).view()
            array.flags.writeable = False
            if array.size:
                with _blamed(calibrator, name):
                    if name not in collectors:
                        collectors[name] = calibrator.collector()
                    collectors[name].collect(array)
    if number < 0:
        raise QuantizationError(
            "no calibration data: give at least one sample of what the model will see"
        )
    nothing = Range(np.float32(0), np.float32(0))
    return {
        name: _range(collectors[name], calibrator, name) if name in collectors else nothing
        for name in values
    }


def _session(model: onnx.ModelProto, outputs: Iterable[str]) -> ort.InferenceSession:
    """A session of the model that also gives other values of it."""
    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    augmented.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in outputs if name not in present
    )
    options = ort.SessionOptions()
    # Nothing may be fused: what would be hidden in a fusion is an output.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(
        augmented.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(
    session: ort.InferenceSession, outputs: Sequence[str], feed: Feed, number: int
) -> list[Array]:
    try:
        found: list[Array] = session.run(outputs, feed)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise QuantizationError(
            f"the model does not take calibration sample {number}: {error}"
        ) from error
    return found


def _range(collector: RangeCollector, calibrator: Calibrator, name: str) -> Range:
    with _blamed(calibrator, name), np.errstate(over="ignore"):
        low, high = collector.range()
        found = Range(np.float32(low), np.float32(high))
    if not (np.isfinite(found).all() and found.low <= found.high):
        raise QuantizationError(
            f"{_who(calibrator)} finds the range {low} to {high} for the value {name!r}: expected "
            "two finite numbers, the lower one first; the model may have computed NaN or infinity"
        )
    return found


@contextlib.contextmanager
def _blamed(calibrator: Calibrator, name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise QuantizationError(
            f"{_who(calibrator)} failed at the value {name!r}: {type(error).__name__}: {error}"
        ) from error


def _who(calibrator: Calibrator) -> str:
    return f"calibrator {calibrator.name!r} of plugin {calibrator.owner!r}"

"""Scales and zero points of activations, from their ranges."""

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.scheme import Scheme, Unit

WORTH_SHARING = 1.5
"""How many times as wide an input's range may become, so that a Concat has nothing to convert."""
TOO_FAR_APART = 8.0
"""How many times as wide as the range of an input that of a Concat may be at the model's end."""


class Parameters(NamedTuple):
    """A number is `scale * (integer - zero_point)`."""

    scale: npt.NDArray[np.float32]
    """Without dims."""
    zero_point: npt.NDArray[Any]
    """Without dims; uint8 or int8, like the integers."""


def parameters_of(found: Range, dtype: npt.DTypeLike) -> Parameters:
    """Those that hold a range, in which zero lies and has an integer of its own."""
    limits = np.iinfo(np.dtype(dtype))
    scale = np.float32(max(found.step, float(np.finfo(np.float32).tiny)) if found.width else 1)
    zero_point = np.clip(limits.min + np.rint(-found.low / scale), limits.min, limits.max)
    return Parameters(np.asarray(scale), np.asarray(zero_point, dtype))


def to_integers(
    array: npt.NDArray[Any], scale: npt.NDArray[np.float32], zero_point: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """The integers that stand for numbers, as QuantizeLinear finds them.

    They have the type of the zero point; its shape and that of the scale meet that of the array.
    """
    limits = np.iinfo(zero_point.dtype)
    steps = np.rint(array / scale) + zero_point.astype(np.float32)
    found: npt.NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(zero_point.dtype)
    return found


def value_ranges(
    scheme: Scheme, found: Mapping[str, Range], given: Container[str] = ()
) -> dict[str, Range]:
    """The range of every quantized value, from those of `scheme.calibrated`.

    What nothing but a Concat reads is held in the range of its result: it is rounded once instead
    of twice. So is what others read, too, where that costs them little. Ranges of `given` values
    stay.
    """
    ranges = {**scheme.fixed, **found}
    for unit in reversed(scheme.units):
        if scheme.node(unit).op_type != "Concat":
            continue
        joined = ranges[unit.writes[0]]
        for name in unit.reads:
            source = scheme.sources[name]
            if source in scheme.fixed or source in given:
                continue
            alone = name == source and scheme.users[name] == (unit,)
            if alone or joined.width <= WORTH_SHARING * ranges[source].width:
                ranges[source] = joined
    return {name: ranges[scheme.sources[name]] for name in scheme.values}


def far_apart_at_the_end(scheme: Scheme, ranges: Mapping[str, Range]) -> set[int]:
    """The Concats of values whose ranges are far apart, where nothing but outputs follows.

    No single range serves the boxes and the scores that detectors join in one output. With the
    Concats come operators behind them that only move the result. `ranges` are those of
    `scheme.calibrated`.
    """
    known = {**scheme.fixed, **ranges}
    outputs = {value.name for value in scheme.model.graph.output}
    found: set[int] = set()
    for unit in scheme.units:
        if scheme.node(unit).op_type != "Concat":
            continue
        widest = known[unit.writes[0]].width
        narrowest = min(known[scheme.sources[name]].width for name in unit.reads)
        if widest > TOO_FAR_APART * narrowest:
            found.update(p for one in _tail(unit, scheme, outputs) for p in one.positions)
    return found


def _tail(first: Unit, scheme: Scheme, outputs: set[str]) -> list[Unit]:
    """A unit and what moves its result on to outputs; none where anything else reads it."""
    found = [first]
    for unit in found:
        for name in unit.writes:
            users = scheme.users.get(name, ())
            if name in scheme.read_in_float - outputs or not all(map(scheme.is_movement, users)):
                return []
            found += (user for user in users if user not in found)
    return found

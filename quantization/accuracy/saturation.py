"""Where functions saturate: numbers beyond need no place in the range of what they read.

A SiLU that reads -30 gives what it gives for -9, Sigmoid is flat beyond 7 and HardSwish below -3.
Where nothing else reads a value, its range may end there, and its steps are the smaller for it.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from furiosa_ep.partitioner.units import ELEMENTWISE
from furiosa_ep.quantization.optimize.copies import copy_without
from furiosa_ep.quantization.ranges import STEPS, Range
from furiosa_ep.quantization.scheme import Scheme, Unit

POINTS = 4097
"""So many numbers of a range are tried."""
TOLERANCE = 0.25
"""How far results may be from those at the end of the range, in steps of 8 bits."""
_BEYOND = (16.0, 8.0, 4.0, 2.0)
"""A function is flat where it is so for numbers that are so many times as large, too."""
SAMPLES = 16
"""So many samples tell what a function reads."""

Floats = npt.NDArray[np.float32]


def saturating_units(scheme: Scheme) -> dict[str, Unit]:
    """Functions of one value that nothing else reads, by the value's name.

    The function is the same for all elements, or one of one channel each: its constants differ
    along one axis at most.
    """
    return {
        unit.reads[0]: unit
        for unit in scheme.units
        if len(unit.reads) == 1 and scheme.users[unit.reads[0]] == (unit,)
        if unit.reads[0] in scheme.calibrated and unit.reads[0] not in scheme.read_in_float
        if all(scheme.model.graph.node[p].op_type in ELEMENTWISE for p in unit.nodes)
        if sum(length > 1 for length in _dims_of_constants(scheme, unit)) <= 1
    }


def saturation_limits(scheme: Scheme, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Beyond which numbers functions of values do not change; infinite where they do.

    `ranges` are those of numbers that `saturating_units` read.
    """
    units = {name: unit for name, unit in saturating_units(scheme).items() if name in ranges}
    return {name: _limits(scheme, unit, ranges[name]) for name, unit in units.items()}


def _dims_of_constants(scheme: Scheme, unit: Unit) -> tuple[int, ...]:
    """The shape that all constants of a unit have together."""
    names = (name for position in unit.nodes for name in scheme.model.graph.node[position].input)
    found = [tuple(scheme.constants[name].dims) for name in names if name in scheme.constants]
    return np.broadcast_shapes(*found)


def _limits(scheme: Scheme, unit: Unit, found: Range) -> Range:
    """Ends that are infinite where a function still changes: other samples may reach farther."""
    points = np.linspace(found.low, found.high, POINTS, dtype=np.float32)
    beyond = max(-found.low, found.high) * np.array(_BEYOND, np.float32)
    every = np.concatenate([-beyond, points, beyond[::-1]])
    first, last = every.size, 0
    for result in _results(scheme, unit, every):
        within = result[beyond.size : -beyond.size]
        if not np.isfinite(within).all():
            continue
        flat, flat_behind = _changes(result, TOLERANCE * float(np.ptp(within)) / STEPS)
        first, last = min(first, flat), max(last, flat_behind)
    low = min(float(every[first]), 0.0) if beyond.size <= first < every.size else -math.inf
    high = max(float(every[last]), 0.0) if 0 < last < every.size - beyond.size else math.inf
    return Range(low, high)


def _changes(results: Floats, tolerance: float) -> tuple[int, int]:
    """The last point before the first change, and the first one behind the last change."""
    return _flat(results, tolerance), len(results) - 1 - _flat(results[::-1], tolerance)


def _flat(results: Floats, tolerance: float) -> int:
    """The last point such that all results before are as near to its result as the tolerance."""
    with np.errstate(invalid="ignore"):
        above = np.maximum.accumulate(results) - results <= tolerance
        below = results - np.minimum.accumulate(results) <= tolerance
    return int(np.flatnonzero((above & below).all(1)).max(initial=0))


def _results(scheme: Scheme, unit: Unit, points: Floats) -> list[Floats]:
    """What a unit computes of some numbers: [numbers, channels]."""
    nodes = [scheme.model.graph.node[position] for position in unit.nodes]
    read = {name for node in nodes for name in node.input}
    constants = _dims_of_constants(scheme, unit)
    # PRelu has a slope of no higher rank.
    dims = [points.size, *constants[1:]] if constants[:1] == (1,) else [points.size, *constants]
    dims = [*dims, 1] if len(dims) < 2 else dims
    model = copy_without(scheme.model, "node", "initializer", "value_info", "input", "output")
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(scheme.constants[name] for name in read & {*scheme.constants})
    model.graph.input.append(helper.make_tensor_value_info(unit.reads[0], TensorProto.FLOAT, dims))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in unit.writes)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = np.broadcast_to(points.reshape([-1] + [1] * (len(dims) - 1)), dims)
    found = session.run(None, {unit.reads[0]: np.ascontiguousarray(feed)})
    return [one.reshape(points.size, -1) for one in found]

"""Where functions saturate: numbers beyond need no place in the range of what they read.

A SiLU that reads -30 gives what it gives for -9, Sigmoid is flat beyond 7 and HardSwish below -3.
Where nothing else reads a value, its range may end there, and its steps are the smaller for it.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from furiosa_ep.partitioner.units import ELEMENTWISE
from furiosa_ep.quantization.optimize.weights import copy_without
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.scheme import Scheme, Unit

POINTS = 4097
"""So many numbers of a range are tried."""
TOLERANCE = 0.25
"""How far results may be from those at the end of the range, in steps of 8 bits."""
SAMPLES = 16
"""So many samples tell what a function reads."""

Floats = npt.NDArray[np.float32]


def saturating_units(scheme: Scheme) -> dict[str, Unit]:
    """Functions of one value that nothing else reads, by the value's name.

    The function is the same for all elements: its constants have one element.
    """
    return {
        unit.reads[0]: unit
        for unit in scheme.units
        if len(unit.reads) == 1 and scheme.users[unit.reads[0]] == (unit,)
        if unit.reads[0] in scheme.calibrated and unit.reads[0] not in scheme.read_in_float
        if all(_is_same_for_all(scheme, position) for position in unit.nodes)
    }


def saturation_limits(scheme: Scheme, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The parts of ranges beyond which functions of their values do not change.

    `ranges` are those of the numbers that `saturating_units` read, none of which is lost.
    """
    units = {name: unit for name, unit in saturating_units(scheme).items() if name in ranges}
    return {name: _limits(scheme, unit, ranges[name]) for name, unit in units.items()}


def _is_same_for_all(scheme: Scheme, position: int) -> bool:
    node = scheme.model.graph.node[position]
    constants = (scheme.constants[name] for name in node.input if name in scheme.constants)
    return node.op_type in ELEMENTWISE and all(np.prod(one.dims) == 1 for one in constants)


def _limits(scheme: Scheme, unit: Unit, found: Range) -> Range:
    points = np.linspace(found.low, found.high, POINTS, dtype=np.float32)
    changes = [
        _changes(result, TOLERANCE * float(np.ptp(result)) / 255)
        for result in _results(scheme, unit, points)
        if np.isfinite(result).all()
    ]
    if not changes:
        return found
    first, last = min(one[0] for one in changes), max(one[1] for one in changes)
    return Range(min(float(points[first]), 0.0), max(float(points[last]), 0.0))


def _changes(results: Floats, tolerance: float) -> tuple[int, int]:
    """The last point before the first change, and the first one behind the last change."""
    return _flat(results, tolerance), len(results) - 1 - _flat(results[::-1], tolerance)


def _flat(results: Floats, tolerance: float) -> int:
    """The last point such that all results before are as near to its result as the tolerance."""
    above = np.maximum.accumulate(results) - results <= tolerance
    below = results - np.minimum.accumulate(results) <= tolerance
    return int(np.flatnonzero(above & below)[-1])


def _results(scheme: Scheme, unit: Unit, points: Floats) -> list[Floats]:
    """What a unit computes of some numbers."""
    nodes = [scheme.model.graph.node[position] for position in unit.nodes]
    read = {name for node in nodes for name in node.input}
    rank = max([len(scheme.constants[n].dims) for n in read if n in scheme.constants], default=1)
    dims = [1] * (max(rank, 2) - 1) + [points.size]  # PRelu has a slope of the same rank
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
    return [one.reshape(-1) for one in session.run(None, {unit.reads[0]: points.reshape(dims)})]

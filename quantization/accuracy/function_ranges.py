"""Ranges of what functions read, from the ranges of their results.

Below -3 HardSwish is zero, and SiLU, Gelu and Sigmoid are hardly more. Where nothing but such
functions reads a value, its range may leave these numbers out, and has finer steps for the others.
And there is no use in numbers that a function makes larger than its result can hold.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper

from furiosa_ep.partitioner.units import ELEMENTWISE
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.scheme import Scheme, Unit

_TOLERATED = 0.25
"""Steps of the result by which it may change: then it is rounded to the same number."""
_POINTS = 4 * 4096 + 1
_REACH = 4.0
"""How far beyond the range of a value numbers are looked for that its functions tell apart."""
_STEPS = 255


def ranges_by_results(scheme: Scheme, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges, with those of values that nothing but functions reads as these need them.

    `ranges` are those of `scheme.calibrated`. A number that a range leaves out is taken for its
    end, which changes no result of the functions, as its own range holds it, by more than a quarter
    of a step.
    """
    known = {**scheme.fixed, **ranges}
    moved = {source for name, source in scheme.sources.items() if name != source}
    narrowed = dict(ranges)
    for name in scheme.calibrated:
        units = scheme.users[name]
        if name not in ranges or name in moved or name in scheme.read_in_float or not units:
            continue
        if all(_is_function(scheme, unit) for unit in units):
            ends = [_seen(scheme, unit, known[name], known) for unit in units]
            low, high = min(one.low for one in ends), max(one.high for one in ends)
            narrowed[name] = Range(low, high)
    return narrowed


def _is_function(scheme: Scheme, unit: Unit) -> bool:
    """Whether a unit computes each number of one number, by the same function everywhere."""
    nodes = [scheme.model.graph.node[position] for position in unit.positions]
    constants = [name for node in nodes for name in node.input if name in scheme.constants]
    return (
        len(unit.reads) == len(unit.writes) == 1
        and all(not node.domain and node.op_type in ELEMENTWISE for node in nodes)
        and all(np.prod(scheme.constants[name].dims) == 1 for name in constants)
    )


def _seen(scheme: Scheme, unit: Unit, limits: Range, known: Mapping[str, Range]) -> Range:
    """The numbers that a unit's result tells apart, where that has its range from calibration.

    These may be more than the calibration of what it reads has left. Of a result with a fixed range
    they are those within the limits.
    """
    name = scheme.sources[unit.writes[0]]
    if name not in known:
        return limits
    reach = 1.0 if name in scheme.fixed else _REACH
    x = np.linspace(limits.low * reach, limits.high * reach, _POINTS, dtype=np.float32)
    y = np.clip(_values(scheme, unit, x).astype(np.float64), *known[name])
    tolerated = _TOLERATED * (known[name].high - known[name].low) / _STEPS
    if not np.isfinite(y).all():
        return limits
    low, high = float(x[_last_alike(y, tolerated)]), float(x[::-1][_last_alike(y[::-1], tolerated)])
    # What lies beyond a value's own range counts only where the result comes to its limits there.
    low = low if y[0] in known[name] else max(low, limits.low)
    high = high if y[-1] in known[name] else min(high, limits.high)
    return Range(min(low, 0.0), max(high, 0.0))


def _last_alike(y: npt.NDArray[np.float64], tolerated: float) -> int:
    """The last number that all numbers before it are as good as equal to."""
    above, below = np.maximum.accumulate(y) - y, y - np.minimum.accumulate(y)
    return int(np.flatnonzero(np.maximum(above, below) <= tolerated)[-1])


def _values(scheme: Scheme, unit: Unit, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What a unit computes of numbers."""
    nodes = [scheme.model.graph.node[position] for position in unit.positions]
    names = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "function",
        [helper.make_tensor_value_info(unit.reads[0], onnx.TensorProto.FLOAT, [x.size])],
        [onnx.ValueInfoProto(name=unit.writes[0])],
        [tensor for name, tensor in scheme.constants.items() if name in names],
    )
    model = helper.make_model(
        graph, opset_imports=scheme.model.opset_import, ir_version=scheme.model.ir_version
    )
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: npt.NDArray[np.float32] = session.run(None, {unit.reads[0]: x})[0]
    return found.reshape(-1)

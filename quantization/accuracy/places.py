"""Places for factors: Mul by a constant for each channel around functions that are not homogeneous.

Cross-layer equalisation ends at SiLU, HardSwish, Gelu and the like: a factor before one of them is
no factor behind it. The NPU, however, holds a chain of elementwise operators on one 8-bit value as
a table, which may differ from channel to channel: dividing by one factor before the function, and
multiplying by another one behind it, costs no rounding. So channels that reach much farther than
others cost these no steps, neither of what the function reads nor of what it computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from furiosa_ep.partitioner.units import ELEMENTWISE
from furiosa_ep.quantization.accuracy.scale_sets import channel_axis, scale_sets
from furiosa_ep.quantization.optimize.copies import copied, copy_without
from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.scheme import Scheme, Unit

_HOMOGENEOUS = frozenset(
    {"Abs", "Add", "Clip", "Div", "Identity", "LeakyRelu", "Max", "Mean", "Min", "Mul", "Neg"}
    | {"PRelu", "Relu", "Sub", "Sum"}
)
"""Operators that factors pass, where they read one value."""


@dataclass(frozen=True)
class Place:
    """Where a Mul by a constant can stand: in front of a function of one value, or behind it."""

    unit: Unit
    value: str
    """What is quantized: the value that the unit reads, or one that it writes."""
    dims: tuple[int, ...]
    """The shape of the constant: a length above 1 for the axis of the channels."""
    constant: str
    """The name of the constant."""
    inner: str
    """The name of the value between the Mul and the function."""

    @property
    def is_before(self) -> bool:
        """Whether the Mul stands in front of the function."""
        return self.value in self.unit.reads


def find_places(scheme: Scheme) -> list[Place]:
    """The places of a scheme: around elementwise functions that factors do not pass."""
    graph, sets = scale_sets(scheme.model)
    found = []
    for unit in scheme.units:
        if not _is_function(scheme, graph, unit):
            continue
        dims = _dims(graph, unit, channel_axis(sets, unit.reads[0]))
        if dims is None or not _is_along(scheme, unit, dims):
            continue
        values = (*unit.reads, *(name for name in unit.writes if name not in scheme.fixed))
        for name in values:
            if name not in scheme.read_in_float:
                constant, inner = (
                    graph.free_name(f"{name}_{end}") for end in ("factors", "unscaled")
                )
                found.append(Place(unit, name, dims, constant, inner))
    return found


def _is_function(scheme: Scheme, graph: EditableGraph, unit: Unit) -> bool:
    nodes = [scheme.model.graph.node[position] for position in unit.nodes]
    if len(unit.reads) != 1 or unit.clip is not None:
        return False
    if any(node.op_type not in ELEMENTWISE for node in nodes):
        return False
    return any(
        node.op_type not in _HOMOGENEOUS
        or sum(not graph.is_constant(name) for name in node.input if name) > 1
        for node in nodes
    )


def _dims(graph: EditableGraph, unit: Unit, axis: int | None) -> tuple[int, ...] | None:
    """The shape of constants for each channel; None where a table for each is not possible."""
    shapes = [graph.shape(name) or () for name in (*unit.reads, *unit.writes)]
    rank = len(shapes[0])
    if rank < 2 or any(len(shape) != rank for shape in shapes):
        return None
    if axis is None:
        axis = 1 if rank > 3 else rank - 1
    lengths = {shape[axis] for shape in shapes} - {None}
    length = lengths.pop() if lengths else None
    if axis == 0 or lengths or not isinstance(length, int) or length < 2:
        return None
    return (length, *[1] * (rank - axis - 1))


def _is_along(scheme: Scheme, unit: Unit, dims: Sequence[int]) -> bool:
    """Whether the constants of a unit differ along no other axis than that of the channels."""
    names = {name for position in unit.nodes for name in scheme.model.graph.node[position].input}
    shapes = [tuple(scheme.constants[name].dims) for name in names if name in scheme.constants]
    return all(
        length == 1 or -axis == len(dims)
        for shape in shapes
        for axis, length in zip(range(-len(shape), 0), shape, strict=True)
    )


def with_places(scheme: Scheme, places: Sequence[Place]) -> Scheme:
    """The scheme with Mul nodes by constants of ones at these places, as parts of their units."""
    insertion = _Insertion(scheme, places)
    model = copy_without(scheme.model, "node", "initializer")
    model.graph.node.extend(insertion.nodes)
    model.graph.initializer.extend([*scheme.model.graph.initializer, *insertion.constants])
    model.graph.value_info.extend(insertion.value_info)
    positions = insertion.positions
    units = tuple(
        replace(
            unit,
            nodes=tuple(sorted(new for old in unit.nodes for new in positions[old])),
            clip=None if unit.clip is None else positions[unit.clip][0],
        )
        for unit in scheme.units
    )
    in_float = {new: reason for old, reason in scheme.in_float.items() for new in positions[old]}
    return replace(scheme, model=model, units=units, in_float=in_float)


class _Insertion:
    """The nodes of a model with those of places, and where they are."""

    def __init__(self, scheme: Scheme, places: Sequence[Place]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.value_info: list[onnx.ValueInfoProto] = []
        self.positions: dict[int, list[int]] = {}
        """Of the nodes by their old positions, with Mul nodes beside them."""
        graph = scheme.model.graph
        self._infos = {one.name: one for one in (*graph.value_info, *graph.input)}
        before = {
            (position, p.value): p for p in places if p.is_before for position in p.unit.nodes
        }
        firsts = {p.unit.nodes[0]: p for p in places if p.is_before}
        behind = {p.value: p for p in places if not p.is_before}
        for old, node in enumerate(graph.node):
            added = copied(node)
            self.positions[old] = []
            if old in firsts:
                self._multiply(old, firsts[old], firsts[old].value, firsts[old].inner)
            for index, name in enumerate(node.input):
                if (old, name) in before:
                    added.input[index] = before[old, name].inner
            for index, name in enumerate(node.output):
                if name in behind:
                    added.output[index] = behind[name].inner
            self._append(old, added)
            for name in node.output:
                if name in behind:
                    self._multiply(old, behind[name], behind[name].inner, name)

    def _multiply(self, old: int, place: Place, source: str, target: str) -> None:
        ones = np.ones(place.dims, np.float32)
        self.constants.append(numpy_helper.from_array(ones, place.constant))
        node = helper.make_node("Mul", [source, place.constant], [target], f"{place.constant}_Mul")
        self._append(old, node)
        info = copied(self._infos[place.value])
        info.name = place.inner
        self.value_info.append(info)

    def _append(self, old: int, node: onnx.NodeProto) -> None:
        self.positions[old].append(len(self.nodes))
        self.nodes.append(node)

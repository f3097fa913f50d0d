"""What of a model is quantized, and which values share their parameters.

As in TensorFlow Lite's 8-bit scheme, operators that only move numbers leave their parameters as
they are, and Softmax and Sigmoid have fixed ranges.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import onnx

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.copies import elements_of
from furiosa_ep.quantization.optimize.editing import names_within
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.weights import Layer, layers

MOVEMENT: Mapping[str, int | None] = {
    **dict.fromkeys(("DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalMaxPool"), 1),
    **dict.fromkeys(("Identity", "MaxPool", "Pad", "ReduceMax", "ReduceMin", "Reshape"), 1),
    **dict.fromkeys(("Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile"), 1),
    **dict.fromkeys(("Transpose", "Unsqueeze", "Upsample"), 1),
    "Concat": None,
}
"""Operators whose results are numbers that they read, or lie between these, and how many of their
inputs they take them from; None for all."""

FIXED: Mapping[str, Range] = {
    "Softmax": Range(0.0, 255 / 256),
    "Sigmoid": Range(0.0, 255 / 256),
    "HardSigmoid": Range(0.0, 1.0),
    "Tanh": Range(-1.0, 127 / 128),
    "LpNormalization": Range(-1.0, 127 / 128),
}
"""The ranges of results that are the same whatever an operator reads."""


@dataclass(frozen=True)
class Unit:
    """Nodes that are quantized as a whole: 8-bit values in and out, floats between them.

    One operator, with the Relu or Clip that the range of its result replaces; or a chain of
    elementwise operators that is a function of one value, which the NPU holds as a table.
    """

    nodes: tuple[int, ...]
    """Positions among the nodes of the model, ascending."""
    reads: tuple[str, ...]
    """Values that are no constants; the first one is what an operator moves."""
    writes: tuple[str, ...]
    clip: int | None = None
    """The position of the Relu or Clip, which is left out; it wrote `writes`."""

    @property
    def positions(self) -> tuple[int, ...]:
        """Those of all nodes."""
        return self.nodes if self.clip is None else (*self.nodes, self.clip)


@dataclass(frozen=True)
class Scheme:
    """What of a model is quantized."""

    model: onnx.ModelProto
    """As `optimize` gives it."""
    units: tuple[Unit, ...]
    """In the order of their first nodes."""
    in_float: Mapping[int, str] = field(default_factory=dict)
    """Nodes that were left out, by position, and why."""

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The values that become 8-bit, in the order in which they come up."""
        return tuple(dict.fromkeys(name for u in self.units for name in (*u.reads, *u.writes)))

    @cached_property
    def sources(self) -> Mapping[str, str]:
        """For each value the one whose parameters it has: often itself."""
        found: dict[str, str] = {}
        for unit in self.units:
            for name in unit.reads:
                found.setdefault(name, name)
            for name in unit.writes:
                found[name] = found[unit.reads[0]] if self.keeps_parameters(unit) else name
        return found

    @cached_property
    def fixed(self) -> Mapping[str, Range]:
        """The ranges that are known without calibration."""
        nodes = self.model.graph.node
        return {
            name: FIXED[nodes[position].op_type]
            for unit in self.units
            for position in unit.nodes
            for name in nodes[position].output
            if name in unit.writes and nodes[position].op_type in FIXED
        }

    @cached_property
    def calibrated(self) -> tuple[str, ...]:
        """The values whose ranges calibration has to find."""
        return tuple(v for v in self.values if self.sources[v] == v and v not in self.fixed)

    @cached_property
    def users(self) -> Mapping[str, tuple[Unit, ...]]:
        """The units that read each quantized value."""
        found: dict[str, list[Unit]] = {name: [] for name in self.values}
        for unit in self.units:
            for name in unit.reads:
                found[name].append(unit)
        return {name: tuple(units) for name, units in found.items()}

    @cached_property
    def read_in_float(self) -> frozenset[str]:
        """The values that are outputs of the model, or that nodes outside of units read."""
        graph = self.model.graph
        within = {position for unit in self.units for position in unit.positions}
        others = (node for position, node in enumerate(graph.node) if position not in within)
        return frozenset(value.name for value in graph.output).union(
            *(node.input for node in others), *map(names_within, graph.node)
        )

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """The layers among the units, by the name of their output."""
        nodes = self.model.graph.node
        quantized = {name for unit in self.units for p in unit.nodes for name in nodes[p].output}
        return {one.output: one for one in layers(self.model) if one.output in quantized}

    def node(self, unit: Unit) -> onnx.NodeProto:
        """The first node of a unit."""
        found: onnx.NodeProto = self.model.graph.node[unit.nodes[0]]
        return found

    def is_movement(self, unit: Unit) -> bool:
        """Whether a unit only moves numbers, or finds others between them."""
        node = self.node(unit)
        return node.op_type in MOVEMENT and not node.domain and not self._pads_with_a_number(node)

    def without(self, positions: Set[int], reason: str) -> "Scheme":
        """The scheme that leaves the units with any of these nodes in float."""
        left = {p for u in self.units if not positions.isdisjoint(u.positions) for p in u.positions}
        units = tuple(unit for unit in self.units if left.isdisjoint(unit.positions))
        return replace(self, units=units, in_float={**self.in_float, **dict.fromkeys(left, reason)})

    def matching(self, patterns: Iterable[str]) -> set[int]:
        """The nodes whose name or output one of the patterns describes (`fnmatch`).

        Raises:
            QuantizationError: for a pattern that describes none.
        """
        found: set[int] = set()
        names = [{node.name, *node.output} - {""} for node in self.model.graph.node]
        for pattern in patterns:
            described = {
                position
                for position, own in enumerate(names)
                if pattern in own or any(fnmatch.fnmatchcase(name, pattern) for name in own)
            }
            if not described:
                raise QuantizationError(
                    f"keep_float {pattern!r}: no node of the optimised model has such a name or "
                    f"output; the first of {len(names)} are "
                    f"{', '.join(self.label(i) for i in range(min(5, len(names))))}"
                )
            found |= described
        return found

    def of(self, model: onnx.ModelProto) -> "Scheme":
        """The scheme for a model of the same nodes, with other constants."""
        return replace(self, model=model)

    def label(self, position: int) -> str:
        """How people find a node: its name, or its operator and first output."""
        node = self.model.graph.node[position]
        return str(node.name or f"{node.op_type} of {node.output[0]!r}")

    @cached_property
    def constants(self) -> Mapping[str, onnx.TensorProto]:
        """The initializers by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    def _pads_with_a_number(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Pad" or len(node.input) < 3 or not node.input[2]:
            return False
        value = self.constants.get(node.input[2])
        return value is None or bool(elements_of(value).any())

    def keeps_parameters(self, unit: Unit) -> bool:
        """Whether the results of a unit have the parameters of what it reads."""
        return self.is_movement(unit) and self.node(unit).op_type != "Concat"

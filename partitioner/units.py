"""Node units: every node of a graph belongs to exactly one.

The groups are those that ONNX Runtime itself would fuse, so that what the NPU computes for a group
is what the CPU provider would. They depend on nothing outside the group but on how often its values
are used: the units of a partition are the same when it is a graph of its own.
"""

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.matching import matches
from furiosa_ep.partitioner.quantization import (
    dequantized,
    is_dequantize,
    is_quantize,
    quantized,
)
from furiosa_ep.partitioner.support import CHAIN, NodeUnit, Operand, OperatorSupport

ELEMENTWISE = frozenset(
    {"Abs", "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Clip"}
    | {"Cos", "Cosh", "Div", "Elu", "Erf", "Exp", "FastGelu", "Floor", "Gelu", "HardSigmoid"}
    | {"HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg"}
    | {"PRelu", "Pow", "QuickGelu", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid"}
    | {"Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan"}
    | {"Tanh", "ThresholdedRelu"}
)
"""Operators that compute every element from the elements at the same place."""


def node_units(
    graph: Graph,
    patterns: Sequence[OperatorSupport] = (),
    takes: Callable[[NodeUnit], bool] = lambda unit: True,
) -> list[NodeUnit]:
    """All node units of the graph, producers before consumers.

    Args:
        graph: the graph.
        patterns: support for several nodes as one operator; the first that takes a node has it.
        takes: whether a unit that matches a pattern is taken; of one that is not, the nodes belong
            to units as if the pattern did not exist.

    A unit is one of:
    - a QDQ group of what a pattern matches, or its nodes alone;
    - a QDQ group: an operator, the DequantizeLinear nodes that nothing else reads, and the
      QuantizeLinear nodes behind it where each output is read by exactly one, and by nothing else.
      A Relu or Clip in between that the QuantizeLinear makes redundant belongs to it;
    - an elementwise chain (`chain`): float operators between DequantizeLinear and QuantizeLinear
      nodes, none or several of them, or one whose result is quantized more than once;
    - a single node: operators without either, QuantizeLinear or DequantizeLinear at a border, and
      nodes with subgraphs.
    """
    groups = _Groups(graph)
    if patterns:
        groups.add_patterns(patterns, takes)
    groups.add_chains()
    for node in graph.nodes:
        if not (is_quantize(node) or is_dequantize(node)):
            groups.add_operator(node)
    for node in graph.nodes:
        groups.add_border(node)
    return _in_order(groups.units, graph)


def has_subgraph(node: Node) -> bool:
    """Whether an attribute of the node is a graph (If, Loop, Scan)."""
    return node.captured is not None


def dependencies(units: Sequence[NodeUnit], graph: Graph) -> list[set[int]]:
    """For each unit the positions of the units that it reads from, in subgraphs too."""
    owner = {node.index: position for position, unit in enumerate(units) for node in unit.nodes}
    reads: list[set[int]] = [set() for _ in units]
    for position, unit in enumerate(units):
        for node in unit.nodes:
            for name in node.outputs:
                for user in graph.consumers(name):
                    reads[owner[user.index]].add(position)
    for position, read in enumerate(reads):
        read.discard(position)
    return reads


def without_dequantize(unit: NodeUnit, graph: Graph) -> list[NodeUnit]:
    """A unit in parts: each DequantizeLinear of an activation alone, then the rest of it."""
    loose = {
        node.outputs[0]: node
        for node in unit.nodes
        if is_dequantize(node) and not graph.is_constant(node.input(0))
    }
    parts = [_border_unit(node, graph) for node in loose.values()]
    inputs = tuple(
        Operand(name, None) if name in loose else one
        for name, one in zip(unit.node.inputs, unit.inputs, strict=True)
    )
    rest = tuple(node for node in unit.nodes if node.outputs[0] not in loose)
    return [*parts, NodeUnit(unit.node, rest, inputs, unit.outputs)]


class _Groups:
    """The units found so far, and the nodes that they hold."""

    def __init__(self, graph: Graph) -> None:
        self.units: list[NodeUnit] = []
        self._graph = graph
        self._graph_outputs = frozenset(graph.outputs)
        self._grouped: set[int] = set()
        self._order = {node.index: position for position, node in enumerate(graph.nodes)}

    def add_patterns(
        self, patterns: Sequence[OperatorSupport], takes: Callable[[NodeUnit], bool]
    ) -> None:
        """Add the QDQ groups of what patterns match, where they are taken."""
        for support, match in matches(self._graph, patterns, self._is_free):
            unit = self._group(match.nodes, match.inputs, (match.output,))
            key = (support.domain, support.op_type)
            unit = dataclasses.replace(unit, fused=key, match=match)
            if takes(unit):
                self._add(unit)

    def add_chains(self) -> None:
        """Add the elementwise chains, and the QDQ groups of single elementwise operators."""
        for nodes in self._float_regions():
            operators = [node for node in nodes if not self._is_clip_behind_operator(node)]
            quantizes = [q for node in nodes for q in self._quantizes(node.outputs[0])]
            if len(operators) == 1 and len(quantizes) == 1:
                continue  # A QDQ group.
            dequantizes = self._dequantizes(nodes)
            leaves = {
                (dq.input(0), dq.input(1), dq.input(2))
                for dq in dequantizes
                if not self._graph.is_constant(dq.input(0))
            }
            exits = [node for node in nodes if self._quantizes(node.outputs[0])]
            # With several values in and several nodes' results out, what leaves by one could come
            # back by another.
            if leaves and (len({leaf[0] for leaf in leaves}) == 1 or len(exits) == 1):
                self._add_chain(operators[-1], (*dequantizes, *nodes, *quantizes))

    def add_operator(self, node: Node) -> None:
        """Add the QDQ group of an operator, or the operator alone."""
        if self._is_free(node):
            self._add(self._group((node,), node.inputs, node.outputs))

    def add_border(self, node: Node) -> None:
        """Add what is left: a QuantizeLinear or DequantizeLinear alone, or one after the other."""
        if not self._is_free(node):
            return
        name = node.outputs[0]
        users = self._graph.consumers(name)
        requantizes = (
            is_dequantize(node)
            and name not in self._graph_outputs
            and all(self._is_quantize_of(user, name) for user in users)
            and not self._graph.is_constant(node.input(0))
        )
        if users and requantizes:
            self._add_chain(users[-1], (node, *users))
        else:
            self._add(_border_unit(node, self._graph))

    def _group(
        self, nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str]
    ) -> NodeUnit:
        """The QDQ group of an operator that is one or several nodes, the last of which ends it."""
        graph, node = self._graph, nodes[-1]
        dequantizes = [] if has_subgraph(node) else self._dequantizes(nodes)
        own = [one for one in nodes if is_dequantize(one)]
        behind = self._behind(node) if dequantizes or own else {}
        operands = {dq.input(0): dequantized(graph, dq) for dq in own}
        operands.update((dq.outputs[0], dequantized(graph, dq)) for dq in dequantizes)
        results = {name: quantized(graph, quantize) for name, (*_, quantize) in behind.items()}
        if is_quantize(node):
            results[node.outputs[0]] = quantized(graph, node)
        return NodeUnit(
            node,
            self._sorted((*dequantizes, *nodes, *itertools.chain(*behind.values()))),
            tuple(operands.get(name) or Operand(name, None) for name in inputs),
            tuple(results.get(name) or Operand(name, None) for name in outputs),
        )

    def _is_free(self, node: Node) -> bool:
        """Whether a node is in no unit yet."""
        return node.index not in self._grouped

    def _add(self, unit: NodeUnit) -> None:
        self.units.append(unit)
        self._grouped.update(node.index for node in unit.nodes)

    def _add_chain(self, node: Node, nodes: Iterable[Node]) -> None:
        nodes = self._sorted(nodes)
        leaves = {
            (dq.input(0), dq.input(1), dq.input(2)): dequantized(self._graph, dq)
            for dq in nodes
            if is_dequantize(dq) and not self._graph.is_constant(dq.input(0))
        }
        outputs = tuple(quantized(self._graph, q) for q in nodes if is_quantize(q))
        self._add(NodeUnit(node, nodes, tuple(leaves.values()), outputs, fused=CHAIN))

    def _sorted(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        return tuple(sorted(nodes, key=lambda node: self._order[node.index]))

    def _float_regions(self) -> list[list[Node]]:
        """Elementwise operators connected by values in float, each region in topological order.

        Nothing else reads or writes those values but QuantizeLinear and DequantizeLinear.
        """
        region_of: dict[int, list[Node]] = {}
        closed: set[int] = set()
        for node in filter(self._is_elementwise, self._graph.nodes):
            region = region_of[node.index] = [node]
            for name in node.inputs:
                producer = self._graph.producer(name)
                if producer is None or not (
                    self._is_elementwise(producer) or is_dequantize(producer)
                ):
                    continue
                other = region_of.setdefault(producer.index, [producer])
                if other is not region:
                    small, region = sorted((region, other), key=len)
                    region.extend(small)
                    region_of.update((one.index, region) for one in small)
            if self._is_closed(node):
                closed.add(node.index)
        distinct = {id(region): region for region in region_of.values()}.values()
        operators = ([one for one in region if not is_dequantize(one)] for region in distinct)
        return [
            list(self._sorted(region))
            for region in operators
            if all(node.index in closed for node in region)
        ]

    def _is_closed(self, node: Node) -> bool:
        """Whether the neighbours of an elementwise operator are such as a region may have.

        It reads only constants, DequantizeLinear and elementwise operators, and is read only by
        QuantizeLinear and elementwise operators.
        """
        name = node.outputs[0]
        users = self._graph.consumers(name)
        if not users or name in self._graph_outputs:
            return False
        return all(
            self._is_elementwise(user) or self._is_quantize_of(user, name) for user in users
        ) and all(
            not value
            or self._graph.is_constant(value)
            or self._is_elementwise_value(value)
            or self._is_dequantized_for_elementwise(value)
            for value in node.inputs
        )

    def _is_elementwise(self, node: Node) -> bool:
        return (
            node.op_type in ELEMENTWISE
            and node.domain in ("", "com.microsoft")
            and len(node.outputs) == 1
            and self._is_free(node)
        )

    def _is_elementwise_value(self, name: str) -> bool:
        producer = self._graph.producer(name)
        return producer is not None and self._is_elementwise(producer)

    def _is_dequantized_for_elementwise(self, name: str) -> bool:
        """Whether a DequantizeLinear computes a value that only elementwise operators read."""
        return self._dequantize(name) is not None and all(
            self._is_elementwise(user) for user in self._graph.consumers(name)
        )

    def _dequantize(self, name: str) -> Node | None:
        """The free DequantizeLinear that computes a value, unless the value is an output."""
        producer = self._graph.producer(name)
        if producer is None or not is_dequantize(producer) or name in self._graph_outputs:
            return None
        return producer if self._is_free(producer) else None

    def _dequantizes(self, nodes: Sequence[Node]) -> list[Node]:
        """The other DequantizeLinear nodes that compute inputs of `nodes` and nothing else."""
        readers = {node.index for node in nodes}
        found = {
            dq.index: dq
            for node in nodes
            for name in node.inputs
            if (dq := self._dequantize(name)) is not None
            and dq.index not in readers
            and readers.issuperset(user.index for user in self._graph.consumers(name))
        }
        return list(found.values())

    def _quantizes(self, name: str) -> list[Node]:
        """The QuantizeLinear nodes among the readers of a value in a region."""
        return [user for user in self._graph.consumers(name) if is_quantize(user)]

    def _only_quantize(self, name: str) -> Node | None:
        """The QuantizeLinear that alone reads a value."""
        users = self._graph.consumers(name)
        if len(users) != 1 or name in self._graph_outputs:
            return None
        return users[0] if self._is_quantize_of(users[0], name) else None

    def _is_quantize_of(self, node: Node, name: str) -> bool:
        """Whether a node is a free QuantizeLinear of a value."""
        return (
            is_quantize(node)
            and node.inputs[0] == name
            and name not in node.inputs[1:]
            and self._is_free(node)
        )

    def _behind(self, node: Node) -> dict[str, list[Node]]:
        """By output the QuantizeLinear that alone reads it, after the Relu or Clip it obviates.

        Nothing at all where any output is read by anything else.
        """
        behind: dict[str, list[Node]] = {}
        for output in filter(None, node.outputs):
            users = self._graph.consumers(output)
            if not users and output not in self._graph_outputs:
                continue
            clips = users if users and self._is_clip_behind_operator(users[0]) else ()
            name = clips[0].outputs[0] if clips else output
            quantize = self._only_quantize(name)
            if quantize is None:
                return {}
            behind[output] = [*clips, quantize]
        return behind

    def _is_clip_behind_operator(self, node: Node) -> bool:
        """Whether a node is a redundant Relu or Clip, and alone reads the operator before it."""
        producer = self._graph.producer(node.input(0))
        return (
            producer is not None
            and not is_dequantize(producer)
            and node.input(0) not in self._graph_outputs
            and len(self._graph.consumers(node.input(0))) == 1
            and self._is_free(node)
            and self._redundant(node)
        )

    def _redundant(self, node: Node) -> bool:
        """Whether a node is a Relu or Clip that changes nothing before its QuantizeLinear."""
        if node.domain or node.op_type not in ("Relu", "Clip"):
            return False
        quantize = self._only_quantize(node.outputs[0])
        params = quantized(self._graph, quantize).params if quantize is not None else None
        if params is None:
            return False
        if node.op_type == "Relu":
            return params.zero_point == params.minimum
        bounds = self._clip_bounds(node)
        if bounds is None:
            return False
        with np.errstate(all="ignore"):
            lowest, highest = (np.rint(one / params.scale) + params.zero_point for one in bounds)
        return bool(lowest <= params.minimum and highest >= params.maximum)

    def _clip_bounds(self, node: Node) -> tuple[np.float32, np.float32] | None:
        limits = np.finfo(np.float32)
        bounds = [limits.min, limits.max]
        for position, key in enumerate(("min", "max")):
            if node.opset < 11:
                bounds[position] = np.float32(node.attributes.get(key, bounds[position]))
            elif name := node.input(position + 1):
                array = self._graph.constant(name)
                if array is None or array.size != 1 or array.dtype != np.float32:
                    return None
                bounds[position] = array.reshape(-1)[0]
        return bounds[0], bounds[1]


def _border_unit(node: Node, graph: Graph) -> NodeUnit:
    if is_quantize(node):
        return NodeUnit(node, (node,), (Operand(node.input(0), None),), (quantized(graph, node),))
    output = Operand(node.outputs[0], None)
    return NodeUnit(node, (node,), (dequantized(graph, node),), (output,))


def _in_order(units: Sequence[NodeUnit], graph: Graph) -> list[NodeUnit]:
    """Producers before consumers, otherwise in the order of the graph's nodes."""
    order = {node.index: position for position, node in enumerate(graph.nodes)}
    reads = dependencies(units, graph)
    users: list[list[int]] = [[] for _ in units]
    for position, read in enumerate(reads):
        for producer in read:
            users[producer].append(position)
    waiting = [len(read) for read in reads]
    ready = [(order[unit.node.index], i) for i, unit in enumerate(units) if not waiting[i]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, position = heapq.heappop(ready)
        ordered.append(units[position])
        for user in users[position]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, (order[units[user].node.index], user))
    return ordered

"""Where the patterns of plugins match in a graph."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.patterns import Kind, Pattern, PatternMatch, PatternNode
from furiosa_ep.partitioner.quantization import is_dequantize
from furiosa_ep.partitioner.shape_arithmetic import shape_values
from furiosa_ep.partitioner.support import OperatorSupport

_COMMUTATIVE = frozenset[Kind]({("", "Add"), ("", "Mul")})
_EFFORT = 32
"""How many nodes are looked at for each node of a pattern before the search at one place ends."""


def matches(
    graph: Graph, patterns: Sequence[OperatorSupport], free: Callable[[Node], bool]
) -> Iterator[tuple[OperatorSupport, PatternMatch]]:
    """The matches of nodes that are all `free`, by the order of the patterns, then of the graph.

    Each comes with the support that has the pattern. Where inputs of Add or Mul can be exchanged, a
    pattern may match in several ways at one node. Whoever takes the nodes of a match has to make
    sure before the next one that they are no longer free. Shape arithmetic does not match: the
    compiler evaluates it.
    """
    occurring = _Occurring(graph)
    for support in patterns:
        pattern = support.pattern
        if pattern is None or not occurring.may_match(pattern):
            continue
        search = _Search(graph, pattern, free)
        for last, before in occurring.ends(pattern.nodes[-1].kind):
            if not pattern.kinds_before_last <= before:
                continue
            for match in search.from_last(last):
                if not free(last):
                    break
                yield support, match


class _Occurring:
    """What occurs in a graph: tells of most patterns that they do not, without a search."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._shapes = shape_values(graph)
        self._nodes: dict[Kind, list[Node]] = {}
        self._ends: dict[Kind, list[tuple[Node, set[Kind]]]] = {}
        self._values: dict[tuple[Kind, str], list[Any]] = {}
        for node in graph.nodes:
            self._nodes.setdefault(_kind(node), []).append(node)

    def may_match(self, pattern: Pattern) -> bool:
        """Whether for each node of a pattern there is one that is like it."""
        return pattern.kinds <= self._nodes.keys() and all(
            any(_fits(node, name, found) for found in self._values_of(node.kind, name))
            for node in pattern.nodes
            for name in node.attributes
        )

    def ends(self, kind: Kind) -> list[tuple[Node, set[Kind]]]:
        """The nodes of a kind, each with the kinds of those whose values it reads."""
        if kind not in self._ends:
            self._ends[kind] = [
                (node, {_kind(one) for one in map(self._graph.producer, node.inputs) if one})
                for node in self._nodes[kind]
                if self._shapes.isdisjoint(node.outputs)
            ]
        return self._ends[kind]

    def _values_of(self, kind: Kind, name: str) -> list[Any]:
        """The different values of an attribute, None where a node has none."""
        if (kind, name) not in self._values:
            values = (node.attributes.get(name) for node in self._nodes[kind])
            self._values[kind, name] = list({repr(value): value for value in values}.values())
        return self._values[kind, name]


def _kind(node: Node) -> Kind:
    return node.domain, node.op_type


_Nodes = dict[int, Node]
"""By position in the pattern."""
_Values = dict[str, tuple[str, ...]]
"""By name in the pattern what the graph calls the value: several names where it is computed or
stored several times."""


class _Search:
    """The search for one pattern in a graph, backwards from the last node."""

    def __init__(self, graph: Graph, pattern: Pattern, free: Callable[[Node], bool]) -> None:
        self._graph = graph
        self._pattern = pattern
        self._free = free
        self._outputs = frozenset(graph.outputs)

    def from_last(self, last: Node) -> Iterator[PatternMatch]:
        """Each match that ends with a node."""
        pattern, count = self._pattern, len(self._pattern.nodes)
        _, slot = pattern.producers[pattern.output]
        output = last.outputs[slot] if slot < len(last.outputs) else ""
        states: list[tuple[_Nodes, _Values, tuple[tuple[int, Node], ...]]] = []
        if output and self._is_like(pattern.nodes[-1], last):
            states.append(({}, {}, ((count - 1, last),)))
        for _ in range(_EFFORT * count):
            if not states:
                return
            nodes, values, pending = states.pop()
            if not pending:
                if self._is_closed(nodes, values, output):
                    inputs = tuple(values[name][0] for name in pattern.inputs)
                    matched = tuple(nodes[position] for position in range(count))
                    yield PatternMatch(pattern, matched, inputs, output)
                continue
            (position, node), *rest = pending
            if position in nodes or node in nodes.values():
                if nodes.get(position) is node:
                    states.append((nodes, values, tuple(rest)))
                continue
            wanted = pattern.nodes[position]
            for inputs in reversed(_orders(wanted, node)):
                bound = self._bound(wanted.inputs, inputs, values)
                if bound is not None:
                    more_values, producers = bound
                    states.append(({**nodes, position: node}, more_values, (*producers, *rest)))

    def _is_like(self, wanted: PatternNode, node: Node) -> bool:
        """Whether a node by itself can be one of the pattern."""
        if node.op_type != wanted.op_type or node.domain != wanted.domain:
            return False
        for name in wanted.attributes:
            if not _fits(wanted, name, node.attributes.get(name)):
                return False
        return node.captured is None and self._free(node)

    def _bound(
        self, names: Sequence[str], inputs: Sequence[str], values: _Values
    ) -> tuple[_Values, list[tuple[int, Node]]] | None:
        """The values with those that a node reads, and the nodes that must compute these.

        None where they are not what the pattern's names stand for.
        """
        values = dict(values)
        producers = []
        for name, value in itertools.zip_longest(names, inputs, fillvalue=""):
            if not (name and value):
                if name or value:
                    return None
                continue
            known = values.get(name, ())
            if value in known:
                continue
            if name in self._pattern.producers:
                position, slot = self._pattern.producers[name]
                producer = self._graph.producer(value)
                if (
                    producer is None
                    or producer.outputs[slot : slot + 1] != (value,)
                    or not self._is_like(self._pattern.nodes[position], producer)
                ):
                    return None
                producers.append((position, producer))
            elif known and not self._same(known[0], value):
                return None
            values[name] = (*known, value)
        return values, producers

    def _same(self, one: str, other: str) -> bool:
        """Whether names are of equal constants, or of a value that is dequantized twice."""
        if one == other:
            return True
        if self._graph.is_constant(one) and self._graph.is_constant(other):
            a, b = self._graph.constant(one), self._graph.constant(other)
            return a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b)
        first, second = self._graph.producer(one), self._graph.producer(other)
        return (
            first is not None
            and second is not None
            and is_dequantize(first)
            and is_dequantize(second)
            and (first.domain, first.attributes) == (second.domain, second.attributes)
            and first.input(0) == second.input(0)
            and all(self._same(first.input(at), second.input(at)) for at in (1, 2))
        )

    def _is_closed(self, nodes: _Nodes, values: _Values, output: str) -> bool:
        """Whether only the output is read outside of the nodes, and the inputs come from there."""
        inside = {node.index for node in nodes.values()}
        computed = {name for node in nodes.values() for name in node.outputs if name}
        inputs = [values[name] for name in self._pattern.inputs]
        return (
            all(self._is_private(name, inside) for name in computed if name != output)
            and all(computed.isdisjoint(names) for names in inputs)
            and all(
                self._graph.is_constant(name) or self._is_dequantized_for(inside, name)
                for names in inputs
                if len(names) > 1
                for name in names
            )
        )

    def _is_private(self, name: str, inside: set[int]) -> bool:
        """Whether nothing but the nodes `inside` reads a value."""
        return name not in self._outputs and all(
            user.index in inside for user in self._graph.consumers(name)
        )

    def _is_dequantized_for(self, inside: set[int], name: str) -> bool:
        """Whether a DequantizeLinear that would belong to the unit computes a value."""
        producer = self._graph.producer(name)
        return producer is not None and self._free(producer) and self._is_private(name, inside)


def _orders(wanted: PatternNode, node: Node) -> list[tuple[str, ...]]:
    """The inputs of a node in every order that computes the same."""
    if wanted.kind in _COMMUTATIVE and len(set(node.inputs)) == len(set(wanted.inputs)) == 2:
        return [node.inputs, node.inputs[::-1]]
    return [node.inputs]


def _fits(wanted: PatternNode, name: str, found: Any) -> bool:
    """Whether an attribute is as a pattern wants it; None where a node lacks it."""
    if found is None:
        return name in wanted.optional
    return _equal(wanted.attributes[name], found)


def _equal(wanted: Any, found: Any) -> bool:
    """Whether an attribute has the value that a pattern wants."""
    if isinstance(wanted, tuple):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(map(_equal, wanted, found))
        )
    if isinstance(found, float) and not isinstance(wanted, str):
        return bool(np.float32(wanted) == np.float32(found))
    return isinstance(found, int | str) and bool(wanted == found)

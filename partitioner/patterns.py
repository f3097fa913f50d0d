"""Patterns: several nodes of a graph that a plugin takes as one operator."""

import functools
import numbers
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from furiosa_ep.graph import Node

Kind = tuple[str, str]
"""Domain and type of an operator."""

_ONNX_DOMAIN = "ai.onnx"
"""Another name of the domain ""."""


@dataclass(frozen=True)
class PatternNode:
    """One node of a pattern; its inputs and outputs are names that join the pattern's nodes.

    Raises:
        ValueError: where no node can be like this.
    """

    op_type: str
    """As models write it. Constant nodes are no nodes here, but what they hold: inputs."""
    inputs: Sequence[str]
    """Names of the pattern's values; "" stands for an absent optional input."""
    outputs: Sequence[str]
    """Like the inputs; of an output that is not named here nothing may be read."""
    domain: str = ""
    """The operator's domain; "" for ONNX's own."""
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Attributes that must have these values (numbers, strings, sequences of them; floats count as
    float32); others may have any."""
    optional: Collection[str] = ()
    """Those of the attributes that a node may lack, because the value is the operator's default.
    ONNX Runtime shows graphs with the defaults of operators' definitions filled in."""

    def __post_init__(self) -> None:
        where = f"pattern node {self.op_type!r}"
        if not self.op_type or (self.op_type == "Constant" and not self.domain):
            raise ValueError(
                f"{where}: expected an operator; a constant is an input of the pattern"
            )
        for what in ("inputs", "outputs", "optional"):
            object.__setattr__(self, what, _names(getattr(self, what), f"{where}: {what}"))
        if not any(self.outputs):
            raise ValueError(f"{where}: expected a name for an output")
        unknown = sorted(set(self.optional) - set(self.attributes))
        if unknown:
            raise ValueError(f"{where}: optional {unknown[0]!r} is none of its attributes")
        values = {name: _plain(value, where, name) for name, value in self.attributes.items()}
        object.__setattr__(self, "attributes", MappingProxyType(values))
        object.__setattr__(self, "domain", "" if self.domain == _ONNX_DOMAIN else self.domain)

    @property
    def kind(self) -> Kind:
        """Domain and type of the operator."""
        return self.domain, self.op_type


@dataclass(frozen=True, eq=False)
class Pattern:
    """A connected group of nodes that together compute one operator, like a norm of seven nodes.

    A value that several nodes of the pattern read is one name used several times. It matches one
    value, equal constants, or DequantizeLinear nodes that are alike, one for each reader; names
    that differ may match the same, too. Add and Mul match with their inputs in either order. Only
    the pattern's output is read outside of it. Patterns that differ in names alone are equal.

    Raises:
        ValueError: where the nodes are no such group.
    """

    nodes: tuple[PatternNode, ...]
    """Each after those whose values it reads; the last one computes the output."""
    inputs: tuple[str, ...]
    """The values that come from outside: the unit's inputs, in this order. DequantizeLinear nodes
    before them belong to the unit; constants are operands like others."""
    output: str
    """The value that leaves: the unit's output. A QuantizeLinear behind it belongs to the unit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "inputs", _names(self.inputs, "pattern: inputs"))
        if not self.nodes:
            raise ValueError("pattern: expected nodes")
        self._check_values()
        self._check_uses()

    @functools.cached_property
    def producers(self) -> Mapping[str, tuple[int, int]]:
        """By value that a node computes the positions of the node and of the output there."""
        return {
            name: (position, slot)
            for position, node in enumerate(self.nodes)
            for slot, name in enumerate(node.outputs)
            if name
        }

    @functools.cached_property
    def kinds(self) -> frozenset[Kind]:
        """Those of the nodes."""
        return frozenset(node.kind for node in self.nodes)

    @functools.cached_property
    def kinds_before_last(self) -> frozenset[Kind]:
        """Those of the nodes whose values the last one reads."""
        positions = (self.producers.get(name) for name in self.nodes[-1].inputs)
        return frozenset(self.nodes[one[0]].kind for one in positions if one is not None)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Pattern) and self._form == other._form)

    def __hash__(self) -> int:
        return hash(self._form)

    @functools.cached_property
    def _form(self) -> tuple[Any, ...]:
        """All that the pattern says, with numbers for names."""
        ids = {"": 0}

        def numbered(names: Iterable[str]) -> tuple[int, ...]:
            return tuple(ids.setdefault(name, len(ids)) for name in names)

        inputs = numbered(self.inputs)
        nodes = tuple(
            (
                node.kind,
                numbered(node.inputs),
                numbered(node.outputs),
                frozenset(node.attributes.items()),
                frozenset(node.optional),
            )
            for node in self.nodes
        )
        return inputs, nodes, ids[self.output]

    def _check_values(self) -> None:
        """Every value comes from one place, and is read only after it is there."""
        known = set()
        for name in self.inputs:
            if not name or name in known:
                raise ValueError(f"pattern: input {name!r} is no name, or is named twice")
            known.add(name)
        for node in self.nodes:
            for name in filter(None, node.inputs):
                if name not in known:
                    raise ValueError(
                        f"pattern: {node.op_type} reads {name!r}, which is neither an input nor "
                        "computed by a node before it"
                    )
            for name in filter(None, node.outputs):
                if name in known:
                    raise ValueError(
                        f"pattern: {node.op_type} computes {name!r}, which is an input or computed "
                        "by another node"
                    )
                known.add(name)
        if self.output not in self.producers:
            raise ValueError(f"pattern: no node computes the output {self.output!r}")

    def _check_uses(self) -> None:
        """Every input is read, and every node leads to the output."""
        read = {name for node in self.nodes for name in node.inputs if name}
        if self.output in read:
            raise ValueError(
                f"pattern: the output {self.output!r} is read by a node of the pattern"
            )
        for name in self.inputs:
            if name not in read:
                raise ValueError(f"pattern: no node reads the input {name!r}")
        for node in self.nodes:
            if read.isdisjoint(node.outputs) and self.output not in node.outputs:
                raise ValueError(
                    f"pattern: {node.op_type} is not connected with the output: no node reads "
                    f"{next(filter(None, node.outputs))!r}"
                )


@dataclass(frozen=True, eq=False)
class PatternMatch:
    """Nodes of a graph that are as a pattern demands."""

    pattern: Pattern
    nodes: tuple[Node, ...]
    """One for each node of the pattern, in its order: where to look for attributes."""
    inputs: tuple[str, ...]
    """For each input of the pattern the value that the nodes read."""
    output: str
    """The value that the last node computes."""


def _names(names: Any, where: str) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where}: expected several names, found {names!r}")
    return tuple(names)


def _plain(value: Any, where: str, name: str) -> Any:
    """The value of an attribute, a sequence as a tuple."""
    several = isinstance(value, list | tuple)
    if not all(isinstance(one, numbers.Real | str) for one in (value if several else [value])):
        raise ValueError(
            f"{where}: attribute {name!r}: expected a number, a string or a sequence of them, "
            f"found {type(value).__name__}; let a constraint look at others"
        )
    return tuple(value) if several else value

"""Patterns: several nodes of a graph that a plugin takes as one operator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class PatternNode:
    """One node of a pattern; its inputs and outputs are names that join the pattern's nodes."""

    op_type: str
    inputs: Sequence[str]
    """Names of the pattern's values; "" stands for an absent optional input."""
    outputs: Sequence[str]
    domain: str = ""
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Attributes that must have these values; others may have any."""


@dataclass(frozen=True)
class Pattern:
    """A connected group of nodes that together compute one operator, like a norm of seven nodes.

    A value that several nodes of the pattern read is one name used several times. Add and Mul match
    with their inputs in either order. Only the pattern's output is read outside of it.
    """

    nodes: tuple[PatternNode, ...]
    inputs: tuple[str, ...]
    """The values that come from outside: the unit's inputs, in this order. DequantizeLinear nodes
    before them belong to the unit; constants are operands like others."""
    output: str
    """The value that leaves: the unit's output. A QuantizeLinear behind it belongs to the unit."""

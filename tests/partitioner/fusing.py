"""Patterns for tests, and plugins that have them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.patterns import Pattern, PatternNode
from furiosa_ep.partitioner.registry import Registry, with_entries
from furiosa_ep.partitioner.support import (
    Constraint,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)
from furiosa_ep.partitioner.units import node_units

from .graphs import graph, lower_nothing, random_pattern, registry_of

SWISH = Pattern(
    (PatternNode("Sigmoid", ["x"], ["s"]), PatternNode("Mul", ["x", "s"], ["y"])), ("x",), "y"
)
SHIFT = Pattern(
    (PatternNode("Add", ["x", "k"], ["a"]), PatternNode("Relu", ["a"], ["y"])), ("x", "k"), "y"
)
FLOAT = "float[1,2,4,4] x"
FLOAT_OUT = "float[N,C,H,W] y"


def one(op_type: str, domain: str = "", inputs: str = "x", **attributes: Any) -> Pattern:
    """A pattern of a single node; the names of its inputs are letters."""
    return Pattern(
        (PatternNode(op_type, list(inputs), ["y"], domain, attributes),), tuple(inputs), "y"
    )


def entry(pattern: Pattern, op_type: str = "Fused", **changes: Any) -> OperatorSupport:
    given: dict[str, Any] = {"domain": "acme", "owner": "acme", **changes}
    return OperatorSupport(op_type, lower_nothing, pattern=pattern, **given)


def plugins(*entries: OperatorSupport, names: Sequence[str] = ("MaxPool", "Chain")) -> Registry:
    """Support by `entries` and for operators by name."""
    built_in = registry_of(*names)
    return dataclasses.replace(built_in, operators=with_entries(built_in.operators, entries))


def declining(
    code: DeclineCode = DeclineCode.SHAPE, said: Callable[[NodeUnit], str | None] = lambda u: "no"
) -> Constraint:
    @constraint(code, "Say yes.")
    def says_yes(unit: NodeUnit, graph: Graph) -> str | None:
        """It must say yes."""
        return said(unit)

    return says_yes


def units(body: str, *entries: OperatorSupport, **model: str) -> list[NodeUnit]:
    return node_units(graph(body, **model), entries)


QDQ_SWISH = """
    f = DequantizeLinear(x, s, z9) p = Sigmoid(f) m = Mul(f, p) y = QuantizeLinear(m, half, z)
"""

Drawn = tuple[list[int], set[int]]
MODELS = st.tuples(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.sets(st.integers(0, 30))
)
PATTERNS = st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), min_size=1, max_size=4)


def entries_of(subject: Graph, drawn: list[list[int]]) -> list[OperatorSupport]:
    return [entry(random_pattern(subject, one), f"F{i}") for i, one in enumerate(drawn)]

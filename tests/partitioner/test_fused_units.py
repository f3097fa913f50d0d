"""Node units of what patterns match."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.graph import Graph, QuantParams
from furiosa_ep.partitioner.patterns import Pattern, PatternNode
from furiosa_ep.partitioner.registry import place
from furiosa_ep.partitioner.support import NodeUnit
from furiosa_ep.partitioner.units import dependencies, node_units

from .fusing import (
    FLOAT,
    FLOAT_OUT,
    MODELS,
    PATTERNS,
    QDQ_SWISH,
    SHIFT,
    SWISH,
    Drawn,
    entries_of,
    entry,
    one,
    plugins,
    units,
)
from .graphs import part_of, random_model, types, unit_types


def test_the_group_of_a_pattern_is_that_of_an_operator_and_wins_over_a_chain() -> None:
    (unit,) = units(QDQ_SWISH, entry(SWISH))
    assert types(unit.nodes) == "DQ Sigmoid Mul Q"
    assert not unit.chain
    assert (unit.key, unit.pattern, unit.node.op_type) == (("acme", "Fused"), SWISH, "Mul")
    (x,), (y,) = unit.inputs, unit.outputs
    assert (x.name, x.params) == ("x", QuantParams(np.float32(0.1), 9, signed=False))
    assert (y.name, y.params) == ("y", QuantParams(np.float32(0.5), 0, signed=False))


@pytest.mark.parametrize(
    ("body", "inputs", "outputs", "expected"),
    [
        # What ONNX Runtime makes of a DequantizeLinear with two readers.
        (
            "f = DequantizeLinear(x, s, z9) g = DequantizeLinear(x, s, z9) p = Sigmoid(f)"
            "m = Mul(g, p) y = QuantizeLinear(m, s, z)",
            "uint8[4] x",
            "uint8[N] y",
            ["DQ DQ Sigmoid Mul Q"],
        ),
        # A reader outside keeps the DequantizeLinear out, and so the QuantizeLinear.
        (
            f"{QDQ_SWISH} w = Det2(f)",
            "uint8[4] x",
            "uint8[N] y, float[N] w",
            ["DQ", "Sigmoid Mul", "Q", "Det2"],
        ),
        # Float before it: the QuantizeLinear is a border.
        (
            "p = Sigmoid(x) m = Mul(x, p) y = QuantizeLinear(m, s, z)",
            "float[4] x",
            "uint8[N] y",
            ["Sigmoid Mul", "Q"],
        ),
        (f"{QDQ_SWISH} w = Neg(m)", "uint8[4] x", "uint8[N] y, float[N] w", None),
        (QDQ_SWISH, "uint8[4] x", "uint8[N] y, float[N] m", None),
        # An activation that the QuantizeLinear makes redundant belongs to it.
        (
            "f = DequantizeLinear(x, s, z9) p = Sigmoid(f) m = Mul(f, p) r = Relu(m)"
            "y = QuantizeLinear(r, s, z)",
            "uint8[4] x",
            "uint8[N] y",
            ["DQ Sigmoid Mul Relu Q"],
        ),
        (
            "f = DequantizeLinear(x, s, z9) p = Sigmoid(f) m = Mul(f, p) r = Relu(m)"
            "y = QuantizeLinear(r, s, z9)",
            "uint8[4] x",
            "uint8[N] y",
            ["DQ Sigmoid Mul", "Relu", "Q"],
        ),
    ],
)
def test_what_belongs_to_the_group(
    body: str, inputs: str, outputs: str, expected: list[str] | None
) -> None:
    found = units(body, entry(SWISH), inputs=inputs, outputs=outputs)
    assert unit_types(found)[: len(expected or [1])] == (expected or ["DQ Sigmoid Mul"])


def test_a_pattern_may_have_the_name_of_chains() -> None:
    named = entry(SWISH, "Chain", domain="furiosa")
    (unit,) = units(QDQ_SWISH, named)
    assert not unit.chain
    assert plugins(named).entry(unit) == named


def test_constants_are_operands() -> None:
    body = """
        f = DequantizeLinear(x, s, z9) k = DequantizeLinear<axis=0>(w, ws, wz) a = Add(f, k)
        r = Relu(a) y = QuantizeLinear(r, s, z9)
    """
    (unit,) = units(body, entry(SHIFT))
    assert types(unit.nodes) == "DQ DQ Add Relu Q"
    _, k = unit.inputs
    assert (k.name, k.params, k.axis) == ("w", None, 0)
    np.testing.assert_array_equal(k.scales, np.array([0.1, 0.2], np.float32))
    (unit,) = units("a = Add(x, three) y = Relu(a)", entry(SHIFT), inputs=FLOAT, outputs=FLOAT_OUT)
    assert [(x.name, x.params) for x in unit.inputs] == [("x", None), ("three", None)]


def test_a_pattern_with_quantize_and_dequantize_sees_their_parameters() -> None:
    seen = Pattern(
        (
            PatternNode("DequantizeLinear", ["x", "s", "z"], ["f"]),
            PatternNode("Tanh", ["f"], ["t"]),
            PatternNode("QuantizeLinear", ["t", "p", "q"], ["y"]),
        ),
        ("x", "s", "z", "p", "q"),
        "y",
    )
    body = "f = DequantizeLinear(x, s, z9) t = Tanh(f) y = QuantizeLinear(t, half, z)"
    (unit,) = units(body, entry(seen))
    assert types(unit.nodes) == "DQ Tanh Q"
    assert [x.name for x in unit.inputs] == ["x", "s", "z9", "half", "z"]
    assert unit.inputs[0].params == QuantParams(np.float32(0.1), 9, signed=False)
    assert unit.outputs[0].params == QuantParams(np.float32(0.5), 0, signed=False)
    dequantized = Pattern(seen.nodes[:2], ("x", "s", "z"), "t")
    (unit,) = units(body, entry(dequantized))
    assert types(unit.nodes) == "DQ Tanh Q"
    assert unit.outputs[0].params == QuantParams(np.float32(0.5), 0, signed=False)


@pytest.mark.parametrize(
    ("body", "pattern", "expected"),
    [
        # What a pattern has taken is in no chain.
        (
            "f = DequantizeLinear(x, s, z9) a = Tanh(f) b = Neg(a) c = Abs(b)"
            "y = QuantizeLinear(c, s, z9)",
            one("Neg"),
            ["DQ Tanh", "Neg", "Abs", "Q"],
        ),
        (
            "f = DequantizeLinear(x, s, z9) a = Tanh(f) b = Neg(a) y = QuantizeLinear(b, s, z9)",
            one("DequantizeLinear", inputs="xsz"),
            ["DQ", "Tanh", "Neg", "Q"],
        ),
        # Nor a redundant activation of the operator before it.
        (
            "f = DequantizeLinear(x, s, z9) p = MaxPool<kernel_shape=[1,1]>(f) r = Relu(p)"
            "y = QuantizeLinear(r, s, z)",
            one("Relu"),
            ["DQ MaxPool", "Relu", "Q"],
        ),
        # Nor a QuantizeLinear or DequantizeLinear of another group, or of another border.
        (
            "f = DequantizeLinear(x, s, z9) p = MaxPool<kernel_shape=[1,1]>(f)"
            "y = QuantizeLinear(p, s, z9)",
            one("QuantizeLinear", inputs="xsz"),
            ["DQ MaxPool", "Q"],
        ),
        (
            "f = DequantizeLinear(x, s, z9) p = MaxPool<kernel_shape=[1,1]>(f)"
            "y = QuantizeLinear(p, s, z9)",
            one("DequantizeLinear", inputs="xsz"),
            ["DQ", "MaxPool", "Q"],
        ),
        (
            "f = DequantizeLinear(x, s, z9) t = Tanh(f) y = QuantizeLinear(t, s, z9)",
            one("QuantizeLinear", inputs="xsz"),
            ["DQ Tanh", "Q"],
        ),
        (
            "f = DequantizeLinear(x, s, z9) y = QuantizeLinear(f, half, z)"
            "w = QuantizeLinear(f, half, z)",
            one("QuantizeLinear", inputs="xsz"),
            ["DQ", "Q", "Q"],
        ),
    ],
)
def test_a_node_of_a_pattern_is_in_no_other_unit(
    body: str, pattern: Pattern, expected: list[str]
) -> None:
    outputs = "uint8[N] y" + (", uint8[N] w" if "w =" in body else "")
    assert unit_types(units(body, entry(pattern), outputs=outputs)) == expected


def test_matches_do_not_overlap_and_come_by_priority_then_by_place() -> None:
    relu = Pattern(
        (PatternNode("Relu", ["x"], ["p"]), PatternNode("Relu", ["p"], ["y"])), ("x",), "y"
    )
    neg = Pattern(
        (PatternNode("Relu", ["x"], ["p"]), PatternNode("Neg", ["p"], ["y"])), ("x",), "y"
    )
    body = "p = Relu(x) q = Relu(p) r = Relu(q) t = Relu(r) y = Neg(t)"
    model = {"inputs": FLOAT, "outputs": FLOAT_OUT}
    assert unit_types(units(body, entry(relu), entry(neg, "G"), **model)) == [
        "Relu Relu",
        "Relu Relu",
        "Neg",
    ]
    low_and_high = plugins(entry(relu, "A"), entry(neg, "B", priority=1)).patterns
    assert [x.op_type for x in low_and_high] == ["B", "A"]
    assert unit_types(units(body, *low_and_high, **model)) == ["Relu Relu", "Relu", "Relu Neg"]


def sometimes(unit: NodeUnit) -> bool:
    """A decision that depends on nothing but the match."""
    return zlib.crc32(repr(place(unit)[2:]).encode()) % 3 > 0


@settings(max_examples=300, deadline=None)
@given(MODELS, PATTERNS)
def test_units_of_patterns_are_convex_and_in_order(
    drawn: Drawn, pattern_choices: list[list[int]]
) -> None:
    subject = Graph.from_model(random_model(*drawn))
    found = node_units(subject, entries_of(subject, pattern_choices), sometimes)
    members = [node.index for unit in found for node in unit.nodes]
    assert sorted(members) == [node.index for node in subject.nodes]
    for position, reads in enumerate(dependencies(found, subject)):
        assert all(read < position for read in reads)


def description(found: Sequence[NodeUnit]) -> list[tuple[object, ...]]:
    """The units, whatever the order of a graph's nodes is."""
    return sorted(
        (
            unit.key,
            sorted(node.label for node in unit.nodes),
            place(unit)[2:],
        )
        for unit in found
    )


@settings(max_examples=500, deadline=None)
@given(MODELS, PATTERNS, st.randoms(use_true_random=False))
def test_units_are_the_same_in_a_graph_of_some_of_them(
    drawn: Drawn, pattern_choices: list[list[int]], random: Any
) -> None:
    proto = random_model(*drawn)
    whole = Graph.from_model(proto)
    entries = entries_of(whole, pattern_choices)
    chosen = [unit for unit in node_units(whole, entries, sometimes) if random.random() < 0.5]
    part = part_of(proto, chosen, random)
    assert description(node_units(part, entries, sometimes)) == description(chosen)

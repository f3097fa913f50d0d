"""Where patterns match."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.matching import matches
from furiosa_ep.partitioner.patterns import Pattern, PatternMatch, PatternNode
from furiosa_ep.partitioner.support import OperatorSupport

from .graphs import graph, lower_nothing, random_model, random_pattern, types

FLOATS = "float[1,2,4,4] x, float[1,2,4,4] v"
ONE = "float[N,C,H,W] y"
TWO = "float[N,C,H,W] y, float[N,C,H,W] w"


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> PatternNode:
    """Names are letters; a dot is an absent input."""
    names = [name.replace(".", "") for name in inputs]
    return PatternNode(op_type, names, list(outputs), attributes=attributes)


def found(subject: Graph, *patterns: Pattern) -> list[PatternMatch]:
    entries = [OperatorSupport(f"F{i}", lower_nothing, pattern=p) for i, p in enumerate(patterns)]
    return [match for _, match in matches(subject, entries, lambda node: True)]


def inputs(subject: Graph, *patterns: Pattern) -> list[tuple[str, ...]]:
    """What the inputs of all matches are."""
    return [match.inputs for match in found(subject, *patterns)]


GATE = Pattern((node("Sigmoid", "x", "s"), node("Mul", "xs", "m")), ("x",), "m")


def test_nodes_match_backwards_from_the_last() -> None:
    (match,) = found(graph("p = Sigmoid(x) y = Mul(x, p)", FLOATS, ONE), GATE)
    assert types(match.nodes) == "Sigmoid Mul"
    assert (match.pattern, match.inputs, match.output) == (GATE, ("x",), "y")


@pytest.mark.parametrize(
    "body",
    [
        "p = Sigmoid(x) y = Mul(v, p)",  # not the same value
        "p = Sigmoid(x) y = Add(x, p)",
        "p = com.microsoft.Sigmoid(x) y = Mul(x, p)",
        "y = Mul(x, x)",
    ],
)
def test_other_nodes_do_not_match(body: str) -> None:
    assert not found(graph(body, FLOATS, ONE), GATE)


@pytest.mark.parametrize("op_type", ["Add", "Mul"])
def test_add_and_mul_match_in_either_order(op_type: str) -> None:
    gate = Pattern((node("Sigmoid", "x", "s"), node(op_type, "xs", "m")), ("x",), "m")
    for arguments in ("x, p", "p, x"):
        assert inputs(graph(f"p = Sigmoid(x) y = {op_type}({arguments})", FLOATS, ONE), gate) == [
            ("x",)
        ]


def test_others_match_in_their_own_order() -> None:
    half = Pattern((node("Sigmoid", "x", "s"), node("Sub", "xs", "m")), ("x",), "m")
    assert found(graph("p = Sigmoid(x) y = Sub(x, p)", FLOATS, ONE), half)
    assert not found(graph("p = Sigmoid(x) y = Sub(p, x)", FLOATS, ONE), half)


def test_every_way_to_match_is_offered_the_written_one_first() -> None:
    add = Pattern((node("Add", "ab", "c"), node("Relu", "c", "r")), ("a", "b"), "r")
    assert inputs(graph("p = Add(x, v) y = Relu(p)", FLOATS, ONE), add) == [("x", "v"), ("v", "x")]
    assert inputs(graph("p = Add(x, x) y = Relu(p)", FLOATS, ONE), add) == [("x", "x")]


def test_the_nodes_of_a_pattern_are_different_nodes() -> None:
    two = Pattern(
        (node("Sqrt", "a", "p"), node("Sqrt", "b", "q"), node("Add", "pq", "r")), ("a", "b"), "r"
    )
    assert not found(graph("p = Sqrt(x) y = Add(p, p)", FLOATS, ONE), two)
    assert len(found(graph("p = Sqrt(x) q = Sqrt(x) y = Add(p, q)", FLOATS, ONE), two)) == 2


@pytest.mark.parametrize(
    ("body", "outputs", "matching"),
    [
        ("p = Sigmoid(x) y = Mul(x, p)", ONE, True),
        ("p = Sigmoid(x) y = Mul(x, p) w = Relu(p)", TWO, False),
        ("w = Sigmoid(x) y = Mul(x, w)", TWO, False),
        ("p = Sigmoid(x) m = Mul(x, p) y = Relu(m) w = Neg(m)", TWO, True),
        (
            "p = Sigmoid(x) y = Mul(x, p) w = If (k) < then_branch = yes () => (float[N] a) "
            "{ a = Identity(p) }, else_branch = no () => (float[N] b) { b = Identity(three) } >",
            TWO,
            False,
        ),
    ],
)
def test_only_the_output_is_read_outside(body: str, outputs: str, matching: bool) -> None:
    assert bool(found(graph(body, f"{FLOATS}, bool k", outputs), GATE)) == matching


def test_an_input_is_not_computed_inside() -> None:
    product = Pattern((node("Sqrt", "a", "p"), node("Mul", "pb", "r")), ("a", "b"), "r")
    assert not found(graph("p = Sqrt(x) y = Mul(p, p)", FLOATS, ONE), product)


def test_nodes_with_subgraphs_do_not_match() -> None:
    body = (
        "y = If (k) < then_branch = yes () => (float[N] a) { a = Identity(x) }, "
        "else_branch = no () => (float[N] b) { b = Identity(x) } >"
    )
    assert not found(
        graph(body, f"{FLOATS}, bool k", ONE), Pattern((node("If", "k", "y"),), ("k",), "y")
    )


def test_shape_arithmetic_does_not_match_but_may_be_inside() -> None:
    subject = graph("p = Shape(x) q = Abs(p) y = Reshape(x, q)", FLOATS, ONE)
    whole = Pattern(
        (node("Shape", "x", "p"), node("Abs", "p", "q"), node("Reshape", "xq", "y")), ("x",), "y"
    )
    assert not found(subject, Pattern(whole.nodes[:2], ("x",), "q"))
    assert inputs(subject, whole) == [("x",)]


@pytest.mark.parametrize(
    ("wanted", "attributes", "matching"),
    [
        ({"axis": 1}, "axis=1", True),
        ({"axis": 1}, "axis=2", False),
        ({"axis": 1}, "axis=1, keepdims=0", True),
        ({"axis": 1}, "", False),
        ({"alpha": 0.1}, "alpha=0.1", True),  # as float32
        ({"alpha": 1}, "alpha=1.0", True),
        ({"alpha": 0.2}, "alpha=0.1", False),
        ({"alpha": 0.1}, "alpha=[0.1]", False),
        ({"alpha": "a"}, "alpha=1.0", False),
        ({"mode": "linear"}, 'mode="linear"', True),
        ({"mode": "linear"}, 'mode="cubic"', False),
        ({"axes": [0, 1]}, "axes=[0, 1]", True),
        ({"axes": (0, 1)}, "axes=[0, 1]", True),
        ({"axes": [0, 1]}, "axes=[0]", False),
        ({"axes": [0]}, "axes=0", False),
        ({"bounds": [0.1, 0.2]}, "bounds=[0.1, 0.2]", True),
        ({"names": ["a", "b"]}, 'names=["a", "b"]', True),
        ({"axis": 1}, "axis=float {1.0}", False),  # a tensor
    ],
)
def test_attributes_must_be_equal(wanted: dict[str, Any], attributes: str, matching: bool) -> None:
    subject = graph(f"y = Any<{attributes}>(x)" if attributes else "y = Any(x)", FLOATS, ONE)
    one = Pattern((PatternNode("Any", ["x"], ["y"], attributes=wanted),), ("x",), "y")
    assert bool(found(subject, one)) == matching


def test_each_node_has_its_own_attributes() -> None:
    subject = graph("p = Any<axis=1>(x) q = Any<axis=2>(p) y = Any(q)", FLOATS, ONE)
    for axis, output in ((1, "p"), (2, "q")):
        (match,) = found(subject, Pattern((node("Any", "x", "y", axis=axis),), ("x",), "y"))
        assert match.output == output


def test_an_attribute_with_the_default_s_value_may_be_absent() -> None:
    softmax = PatternNode("Softmax", ["x"], ["y"], attributes={"axis": -1}, optional=["axis"])
    one = Pattern((softmax,), ("x",), "y")
    assert found(graph("y = Softmax(x)", FLOATS, ONE), one)
    assert found(graph("y = Softmax<axis=-1>(x)", FLOATS, ONE), one)
    assert not found(graph("y = Softmax<axis=1>(x)", FLOATS, ONE), one)


@pytest.mark.parametrize(
    ("wanted", "arguments", "matching"),
    [
        ("x", "x", True),
        ("x..", "x", True),
        ("x", "x, , ", True),
        ("x", "x, zero", False),
        ("xl", "x", False),
        ("x.h", "x, , six", True),
        ("x.h", "x, zero, six", False),
        ("xlh", "x, zero, six", True),
        ("xlh", "x, , six", False),
    ],
)
def test_optional_inputs_are_absent_where_the_pattern_says_so(
    wanted: str, arguments: str, matching: bool
) -> None:
    names = tuple(wanted.replace(".", ""))
    clip = Pattern((node("Clip", wanted, "y"),), names, "y")
    assert bool(found(graph(f"y = Clip({arguments})", FLOATS, ONE), clip)) == matching


@pytest.mark.parametrize(
    ("outputs", "reader", "matching"),
    [("ab", "y = Add(p, q)", True), ("ba", "y = Add(p, q)", True), ("a", "y = Relu(p)", False)],
)
def test_an_output_without_a_name_is_not_read(outputs: str, reader: str, matching: bool) -> None:
    subject = graph(f"p, q = Split<axis=1>(x) {reader} w = Neg(q)", FLOATS, TWO)
    if matching:
        subject = graph(f"p, q = Split<axis=1>(x) {reader}", FLOATS, ONE)
    last = node("Add", "ab", "y") if matching else node("Relu", "a", "y")
    one = Pattern((node("Split", "x", outputs), last), ("x",), "y")
    assert bool(found(subject, one)) == matching


def test_it_matters_which_output_is_read() -> None:
    second = Pattern((node("Split", "x", "ab"), node("Relu", "b", "y")), ("x",), "y")
    for read, matching in (("p", False), ("q", True)):
        subject = graph(f"p, q = Split<axis=1>(x) y = Relu({read})", FLOATS, ONE)
        assert bool(found(subject, second)) == matching


def test_an_absent_output_is_none() -> None:
    split = onnx.helper.make_node("Split", ["x"], ["", "q"])
    proto = onnx.helper.make_model(onnx.helper.make_graph([split], "g", [], []))
    first = Pattern((node("Split", "x", "ab"),), ("x",), "a")
    assert not found(Graph.from_model(proto), first)


def test_the_output_may_be_any_of_the_last_node() -> None:
    subject = graph("p, q = Split<axis=1>(x) y = Relu(q)", FLOATS, ONE)
    (match,) = found(subject, Pattern((node("Split", "x", "ab"),), ("x",), "b"))
    assert match.output == "q"
    assert not found(subject, Pattern((node("Split", "x", "ab"),), ("x",), "a"))
    three = Pattern((PatternNode("Split", ["x"], ["", "", "c"]),), ("x",), "c")
    assert not found(subject, three)


@pytest.mark.parametrize(
    ("body", "matching"),
    [
        ("a = Add(x, three) y = Mul(a, three)", True),
        ("k = Constant<value = float {3.0}>() a = Add(x, three) y = Mul(a, k)", True),
        ("k = Constant<value = float[1] {3.0}>() a = Add(x, three) y = Mul(a, k)", False),
        ("k = Constant<value = double {3.0}>() a = Add(x, three) y = Mul(a, k)", False),
        ("a = Add(x, three) y = Mul(a, six)", False),
        ("a = Add(x, three) y = Mul(a, v)", False),
    ],
)
def test_equal_constants_are_the_same_value(body: str, matching: bool) -> None:
    twice = Pattern((node("Add", "xk", "a"), node("Mul", "ak", "y")), ("x", "k"), "y")
    assert bool(found(graph(body, FLOATS, ONE), twice)) == matching


DEQUANTIZED = "f = DequantizeLinear(x, s, z9) g = DequantizeLinear({}) p = Sigmoid(f) y = Mul(g, p)"


@pytest.mark.parametrize(
    ("arguments", "more", "outputs", "matching"),
    [
        ("x, s, z9", "", "y", True),
        ("x, s, z", "", "y", False),
        ("x, half, z9", "", "y", False),
        ("axis x, s, z9", "", "y", False),
        ("x, s", "", "y", False),
        ("x, k, z9", "k = Constant<value = float {0.1}>()", "y", True),
        ("x, s, z9", "w = Relu(g)", "y, w", False),  # g would stay outside of the unit
        ("x, s, z9", "", "y, g", False),
    ],
)
def test_what_is_dequantized_twice_for_the_match_is_the_same_value(
    arguments: str, more: str, outputs: str, matching: bool
) -> None:
    results = ", ".join(f"float[N,C,H,W] {name}" for name in outputs.split(", "))
    body = more + DEQUANTIZED.format(arguments).replace("(axis ", "<axis=0>(")
    assert inputs(graph(body, outputs=results), GATE) == ([("g",)] if matching else [])


def test_a_taken_dequantize_makes_no_value_the_same() -> None:
    subject = graph(DEQUANTIZED.format("x, s, z9"), outputs=ONE)
    entry = OperatorSupport("F", lower_nothing, pattern=GATE)
    for taken in "fg":
        free = [one for one in subject.nodes if one.outputs != (taken,)]
        assert not list(matches(subject, [entry], free.__contains__))


def test_quantize_and_dequantize_may_be_in_the_pattern() -> None:
    fake = Pattern(
        (node("QuantizeLinear", "xsz", "q"), node("DequantizeLinear", "qsz", "y")),
        tuple("xsz"),
        "y",
    )
    subject = graph("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", FLOATS, ONE)
    assert inputs(subject, fake) == [("x", "s", "z")]


def test_patterns_come_in_their_order_and_matches_in_the_graph_s() -> None:
    relu = Pattern((node("Relu", "x", "y"),), ("x",), "y")
    neg = Pattern((node("Neg", "x", "y"),), ("x",), "y")
    subject = graph("p = Neg(x) q = Relu(p) r = Relu(q) y = Neg(r)", FLOATS, ONE)
    assert [match.output for match in found(subject, relu, neg)] == ["q", "r", "p", "y"]


def test_nodes_that_are_taken_meanwhile_match_no_more() -> None:
    relu = OperatorSupport(
        "F",
        lower_nothing,
        pattern=Pattern((node("Relu", "x", "p"), node("Relu", "p", "y")), ("x",), "y"),
    )
    subject = graph("p = Relu(x) q = Relu(p) r = Relu(q) y = Relu(r)", FLOATS, ONE)
    taken: set[int] = set()
    outputs = []
    for _, match in matches(subject, [relu], lambda node: node.index not in taken):
        taken.update(node.index for node in match.nodes)
        outputs.append(match.output)
    assert outputs == ["q", "y"]


def test_a_taken_match_is_offered_in_no_other_way() -> None:
    add = Pattern((node("Add", "ab", "c"), node("Relu", "c", "r")), ("a", "b"), "r")
    subject = graph("p = Add(x, v) y = Relu(p)", FLOATS, ONE)
    free = list(subject.nodes)
    found = matches(subject, [OperatorSupport("F", lower_nothing, pattern=add)], free.__contains__)
    assert next(found)[1].inputs == ("x", "v")
    free.clear()
    assert next(found, None) is None


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Sqrt", "x", "s"), node("Add", "sk", "y")],  # other operators before the last
        [node("Neg", "x", "s"), node("Add", "sk", "y", axis=1)],
        [node("Neg", "x", "s", axis=1), node("Add", "sk", "y")],
    ],
)
def test_nothing_is_searched_where_a_look_tells_that_nothing_matches(
    nodes: list[PatternNode],
) -> None:
    subject = graph("p = Neg(x) q = Add(p, v) y = Sqrt<axis=1>(q)", FLOATS, ONE)
    entry = OperatorSupport("F", lower_nothing, pattern=Pattern(tuple(nodes), ("x", "k"), "y"))
    asked: list[Node] = []

    def free(node: Node) -> bool:
        asked.append(node)
        return True

    assert not list(matches(subject, [entry], free))
    assert not asked


def test_the_search_ends_where_there_are_too_many_ways() -> None:
    # Either order of every Add leads on, and no way ends well.
    depth = 24
    nodes = [node("Sqrt", "x", "0")]
    nodes += [PatternNode("Add", [str(step), f"c{step}"], [str(step + 1)]) for step in range(depth)]
    constants = [f"c{step}" for step in range(depth)]
    deep = Pattern(tuple(nodes), ("x", *constants), str(depth))
    body = "a0 = Neg(x) b0 = Neg(v) n = Sqrt(x)"
    for step in range(depth):
        body += f" a{step + 1} = Add(a{step}, b{step}) b{step + 1} = Add(b{step}, a{step})"
    subject = graph(f"{body} y = Add(a{depth}, b{depth}) w = Relu(n)", FLOATS, TWO)
    assert not found(subject, deep)


def aliases(subject: Graph, value: str) -> frozenset[str]:
    """All names of a value: several where it is dequantized more than once."""
    producer = subject.producer(value)
    if producer is None or producer.op_type != "DequantizeLinear":
        return frozenset([value])
    alike = (one for one in subject.nodes if one.op_type == "DequantizeLinear")
    return frozenset(one.outputs[0] for one in alike if one.inputs == producer.inputs)


Found = tuple[tuple[int, ...], tuple[frozenset[str], ...]]
"""The indices of the nodes, and all names of each input."""


def brute_force(subject: Graph, pattern: Pattern) -> Iterator[Found]:
    """Every match, found by trying all nodes for all nodes."""
    kinds = [one.kind for one in pattern.nodes]
    choices = [[one for one in subject.nodes if one.op_type == kind[1]] for kind in kinds]
    for nodes in itertools.product(*choices):
        swaps = [(False, True) if one.op_type in ("Add", "Mul") else (False,) for one in nodes]
        for swapped in itertools.product(*swaps):
            values: dict[str, set[str]] = {}
            for wanted, one, swap in zip(pattern.nodes, nodes, swapped, strict=True):
                names = (*wanted.inputs, *wanted.outputs)
                given = (*(one.inputs[::-1] if swap else one.inputs), *one.outputs)
                for name, value in zip(names, given, strict=True):
                    values.setdefault(name, set()).add(value)
            if _is_match(subject, pattern, nodes, values):
                operands = (aliases(subject, next(iter(values[name]))) for name in pattern.inputs)
                yield tuple(one.index for one in nodes), tuple(operands)


def _is_match(
    subject: Graph, pattern: Pattern, nodes: Sequence[Node], values: Mapping[str, set[str]]
) -> bool:
    inside = {one.index for one in nodes}
    computed = {name for one in nodes for name in one.outputs}

    def leaves(name: str) -> bool:
        users = {user.index for user in subject.consumers(name)}
        return name in subject.outputs or not users <= inside

    def one_value(name: str) -> bool:
        found = values[name]
        if len(found) == 1:
            return True
        alike = name in pattern.inputs and found <= aliases(subject, next(iter(found)))
        return alike and not any(map(leaves, found))

    return (
        len(inside) == len(nodes)
        and all(map(one_value, values))
        and {name for name in computed if leaves(name)} <= values[pattern.output]
        and all(computed.isdisjoint(values[name]) for name in pattern.inputs)
    )


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=12),
    st.sets(st.integers(0, 12)),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
)
def test_all_matches_are_found_and_no_others(
    choices: list[int], outputs: set[int], pattern_choices: list[int]
) -> None:
    subject = Graph.from_model(random_model(choices, outputs))
    pattern = random_pattern(subject, pattern_choices)
    matched = [
        (
            tuple(one.index for one in match.nodes),
            tuple(aliases(subject, name) for name in match.inputs),
        )
        for match in found(subject, pattern)
    ]
    assert set(matched) == set(brute_force(subject, pattern))

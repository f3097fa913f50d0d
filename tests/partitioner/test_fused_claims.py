"""Who takes what patterns match, what is told where nobody does, and what is compiled of it."""

import dataclasses
import logging

import pytest
from hypothesis import given, settings

from furiosa_ep.compiler.lowering import steps
from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.partition import partition_graph
from furiosa_ep.partitioner.patterns import Pattern, PatternNode
from furiosa_ep.partitioner.registry import PluginError, Registry, Scope, with_entries
from furiosa_ep.partitioner.report import Report
from furiosa_ep.partitioner.support import DeclineCode, NodeUnit, OperatorSupport, constraint

from .fusing import (
    FLOAT,
    FLOAT_OUT,
    MODELS,
    PATTERNS,
    QDQ_SWISH,
    SHIFT,
    SWISH,
    Drawn,
    declining,
    entries_of,
    entry,
    one,
    plugins,
    units,
)
from .graphs import graph, lower_nothing, random_model, types


def on_npu(report: Report) -> list[str]:
    return [types(unit.nodes) for unit in report.units if unit.partition is not None]


def test_a_pattern_is_reached_by_its_own_entry_where_several_have_one_name() -> None:
    first, second = entry(SWISH, since=2), entry(SHIFT)
    found = plugins(first, second, OperatorSupport("Fused", lower_nothing, domain="acme"))
    for pattern, body in (
        (SWISH, "p = Sigmoid(x) y = Mul(x, p)"),
        (SHIFT, "p = Add(x, three) y = Relu(p)"),
    ):
        (unit,) = units(body, first, second, inputs=FLOAT, outputs=FLOAT_OUT)
        taken = found.entry(unit)
        assert isinstance(taken, OperatorSupport)
        assert taken.pattern == pattern
    (unit,) = units("y = acme.Fused(x)", first, second, inputs=FLOAT, outputs=FLOAT_OUT)
    assert found.entry(unit) == OperatorSupport("Fused", lower_nothing, domain="acme")


def test_the_opset_is_that_of_the_last_node() -> None:
    gelu = PatternNode("FastGelu", ["s"], ["y"], "com.microsoft")
    ends = Pattern((PatternNode("Sigmoid", ["x"], ["s"]), gelu), ("x",), "y")
    body = "p = Sigmoid(x) y = com.microsoft.FastGelu(p)"
    for since, taken in ((1, True), (2, False)):
        report = partition_graph(
            graph(body, FLOAT, FLOAT_OUT), plugins(entry(ends, since=since)), claim="all"
        )
        assert (on_npu(report) == ["Sigmoid FastGelu"]) == taken
    decline = report.units[0].decline
    assert decline is not None
    assert decline.code == DeclineCode.OPSET
    assert (
        "As part of acme:Fused: acme:Fused is supported for opset 2 and later. Found: opset 1"
        in (decline.reason)
    )


def test_equal_patterns_of_equal_priority_are_an_error_that_names_both() -> None:
    table = with_entries({}, [entry(SWISH, owner="one")])
    with pytest.raises(PluginError, match="both 'one' and 'two'"):
        with_entries(table, [entry(SWISH, owner="two")])
    table = with_entries(table, [entry(SHIFT, owner="two"), entry(SWISH, priority=1, owner="two")])
    (unit,) = units("p = Sigmoid(x) y = Mul(x, p)", entry(SWISH), inputs=FLOAT, outputs=FLOAT_OUT)
    taken = Registry(table).entry(unit)
    assert isinstance(taken, OperatorSupport)
    assert taken.owner == "two"


def test_the_report_names_the_operator_and_the_plugin() -> None:
    report = partition_graph(graph(QDQ_SWISH), plugins(entry(SWISH)), claim="all")
    (row,) = report.units
    assert (row.op_type, row.label, row.quantized) == ("acme:Fused", "Mul(m)", True)
    assert row.claim is not None
    assert row.claim.plugin == "acme"
    assert {node.plugin for node in report.rows} == {"acme"}
    assert report.table().count("NPU 0  by acme as acme:Fused\n") == 4


def test_what_a_pattern_computes_decides_whether_it_pays() -> None:
    assert not partition_graph(graph(QDQ_SWISH), plugins(entry(SWISH))).partitions
    norm = Pattern(
        (PatternNode("Det2", ["x"], ["d"]), PatternNode("Add", ["d", "x"], ["y"])), ("x",), "y"
    )
    body = "f = DequantizeLinear(x, s, z) p = Det2(f) a = Add(p, f) y = QuantizeLinear(a, s, z)"
    assert partition_graph(graph(body), plugins(entry(norm))).partitions


def test_what_a_pattern_declines_goes_to_the_next_pattern_or_to_the_operators() -> None:
    high = entry(SWISH, "High", constraints=(declining(),), priority=2)
    low = entry(SWISH, "Low")
    subject = graph(QDQ_SWISH)
    report = partition_graph(subject, plugins(high, low), claim="all")
    assert [row.op_type for row in report.units] == ["acme:Low"]
    report = partition_graph(subject, plugins(high), claim="all")
    (row,) = report.units
    assert (types(row.nodes), row.claim and row.claim.plugin) == ("DQ Sigmoid Mul Q", "test")
    assert row.decline is None


def test_another_way_to_match_is_tried() -> None:
    @constraint(DeclineCode.WEIGHTS_NOT_CONSTANT)
    def constant_shift(unit: NodeUnit, graph: Graph) -> str | None:
        """The shift must be constant."""
        return None if graph.is_constant(unit.inputs[1].name) else unit.inputs[1].name

    found = plugins(entry(SHIFT, constraints=(constant_shift,)))
    for arguments in ("x, three", "three, x"):
        subject = graph(f"a = Add({arguments}) y = Relu(a)", FLOAT, FLOAT_OUT)
        scope = Scope()
        report = partition_graph(subject, found, claim="all", scope=scope)
        assert on_npu(report) == ["Add Relu"]
        (step,) = steps(subject, found, scope)
        assert [x.name for x in step.unit.inputs] == ["x", "three"]
        # The way that was declined is no reason for what the other way has taken.
        (row,) = partition_graph(subject, found).units
        assert row.decline is not None
        assert row.decline.code == DeclineCode.COST
        assert "acme" not in row.decline.reason


def test_what_stays_on_the_cpu_is_told_why_the_pattern_does_not_take_it() -> None:
    @constraint(DeclineCode.DTYPE, "Alone it is hopeless.")
    def never(unit: NodeUnit, graph: Graph) -> str | None:
        """Alone it must be something else."""
        return unit.label

    alone = OperatorSupport("Mul", lower_nothing, (never,), owner="test")
    low = entry(SWISH, "Low", constraints=(declining(DeclineCode.RANK),))
    high = entry(SWISH, constraints=(declining(),), priority=1)
    found = plugins(low, high, alone, names=())
    report = partition_graph(graph("p = Sigmoid(x) y = Mul(x, p)", FLOAT, FLOAT_OUT), found)
    sigmoid, mul = (row.decline for row in report.units)
    assert sigmoid is not None
    assert (sigmoid.code, sigmoid.mend) == (DeclineCode.SHAPE, "Say yes.")
    assert sigmoid.reason == "As part of acme:Fused: It must say yes. Found: no."
    assert mul is not None
    assert mul.code == DeclineCode.DTYPE
    assert mul.reason == (
        "Alone it must be something else. Found: Mul(y). "
        "As part of acme:Fused: It must say yes. Found: no."
    )
    assert mul.mend == "Alone it is hopeless. As part of acme:Fused: Say yes."


def test_a_plugin_whose_pattern_fails_is_left_out_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(unit: NodeUnit) -> str | None:
        raise KeyError("oops")

    broken = entry(SHIFT, "Broken", constraints=(declining(said=fails),), owner="broken")
    same = entry(SWISH, "Same", owner="broken", priority=1)
    body = "p = Sigmoid(x) m = Mul(x, p) a = Add(m, three) y = Relu(a)"
    with caplog.at_level(logging.WARNING):
        report = partition_graph(
            graph(body, FLOAT, FLOAT_OUT), plugins(broken, same, entry(SWISH, "Good")), claim="all"
        )
    assert len(caplog.records) == 1
    assert [row.op_type for row in report.units] == ["acme:Good", "Add", "Relu"]
    for row in report.units[1:]:
        assert row.decline is not None
        assert row.decline.code == DeclineCode.PLUGIN_ERROR
        assert "As part of acme:Broken: Plugin 'broken' is left out" in row.decline.reason
        assert "KeyError: 'oops'" in row.decline.reason


def test_patterns_of_plugins_for_other_targets_take_nothing() -> None:
    found = dataclasses.replace(plugins(entry(SWISH)), targets_of={"acme": ("other",)})
    report = partition_graph(graph("p = Sigmoid(x) y = Mul(x, p)", FLOAT, FLOAT_OUT), found)
    decline = report.units[0].decline
    assert decline is not None
    assert "acme:Fused: Plugin 'acme' is for the targets other. Found: target" in decline.reason
    report = partition_graph(graph(QDQ_SWISH), found, claim="all")
    assert [types(row.nodes) for row in report.units] == ["DQ Sigmoid Mul Q"]
    assert report.units[0].op_type == "Mul"
    report = partition_graph(graph(QDQ_SWISH), found, claim="all", scope=Scope("other"))
    assert report.units[0].op_type == "acme:Fused"


@pytest.mark.parametrize("name", ["acme:Fused", "Sigmoid"])
def test_disabled_operators_disable_patterns(name: str) -> None:
    report = partition_graph(graph(QDQ_SWISH), plugins(entry(SWISH)), claim="all", disabled=[name])
    (row,) = report.units
    assert row.op_type == "Mul"
    assert (row.partition is not None) == (name == "acme:Fused")


def lowered(part: Graph, found: Registry, scope: Scope) -> list[tuple[str, str]]:
    """What the compiler makes of a partition: nodes and operator of each unit."""
    return [(types(one.unit.nodes), one.unit.key[1]) for one in steps(part, found, scope)]


def test_the_compiler_tells_patterns_apart_that_match_the_same_nodes() -> None:
    elu, any_elu = one("Elu", alpha=1.0), one("Elu")
    body = "f = DequantizeLinear(x, s, z9) e = Elu<alpha=1.0>(f) y = QuantizeLinear(e, s, z)"
    for declined, taken in (
        (entry(elu, "High", priority=1), entry(elu, "Low")),
        (entry(elu, priority=1), entry(any_elu)),
    ):
        declined = dataclasses.replace(declined, constraints=(declining(),))
        found, scope = plugins(declined, taken), Scope()
        partition_graph(graph(body), found, scope=scope)
        for known in (scope, Scope()):
            (step,) = steps(graph(body), found, known)
            assert (step.unit.key[1], step.unit.pattern) == (taken.op_type, taken.pattern)


@pytest.mark.parametrize("known", [True, False])
def test_the_compiler_fuses_what_the_partitioner_has_fused(known: bool) -> None:
    """Also where it knows less than the partitioner: constraints say nothing then."""
    only_m = declining(said=lambda unit: None if unit.node.outputs[0] == "m" else "no")
    picky = entry(SWISH, constraints=(only_m,))
    body = """
        f = DequantizeLinear(x, s, z9) p = Sigmoid(f) m = Mul(f, p) a = QuantizeLinear(m, half, z)
        g = DequantizeLinear(a, s, z9) q = Sigmoid(g) n = Mul(g, q) y = QuantizeLinear(n, half, z)
    """
    subject = graph(body)
    if not known:
        types_of = {**subject.types, "x": dataclasses.replace(subject.types["x"], shape=None)}
        subject = dataclasses.replace(subject, types=types_of)
    found, scope = plugins(picky), Scope()
    report = partition_graph(subject, found, scope=scope, claim="all")
    assert [row.op_type for row in report.units] == ["acme:Fused", "Mul"]
    expected = [("DQ Sigmoid Mul Q", "Fused"), ("DQ Sigmoid Mul Q", "Chain")]
    assert lowered(subject, found, scope) == expected
    if known:
        assert lowered(subject, found, Scope()) == expected
    # Which pattern is disabled the compiler is not told but by the scope.
    disabled = Scope()
    partition_graph(subject, found, scope=disabled, claim="all", disabled=["acme:Fused"])
    assert lowered(subject, found, disabled) == [("DQ Sigmoid Mul Q", "Chain")] * 2
    assert disabled.variant != scope.variant


@settings(max_examples=200, deadline=None)
@given(MODELS, PATTERNS)
def test_declined_patterns_change_nothing_but_reasons(
    drawn: Drawn, pattern_choices: list[list[int]]
) -> None:
    subject = Graph.from_model(random_model(*drawn))
    names = ("MaxPool", "Tanh", "Relu", "Concat", "Split", "Chain")
    entries = entries_of(subject, pattern_choices)
    no = [dataclasses.replace(one, constraints=(declining(),)) for one in entries]
    without = partition_graph(subject, plugins(names=names))
    declined = partition_graph(subject, plugins(*no, names=names))
    assert declined.partitions == without.partitions
    assert [(row.nodes, row.op_type) for row in declined.units] == [
        (row.nodes, row.op_type) for row in without.units
    ]


IRRELEVANT = (
    one("Erf"),
    one("Tanh", "other"),
    one("MaxPool", kernel_shape=[9, 9]),
    Pattern((PatternNode("Tanh", ["x"], ["t"]), PatternNode("Erf", ["t"], ["y"])), ("x",), "y"),
    Pattern((PatternNode("Relu", ["x", ""], ["y"], attributes={"alpha": 1}),), ("x",), "y"),
    Pattern((PatternNode("Add", ["x", "v", "w"], ["y"]),), ("x", "v", "w"), "y"),
)


@settings(max_examples=200, deadline=None)
@given(MODELS)
def test_patterns_that_match_nothing_change_nothing(drawn: Drawn) -> None:
    subject = Graph.from_model(random_model(*drawn))
    names = ("MaxPool", "Tanh", "Relu", "Concat", "Split", "Chain")
    entries = [entry(pattern, f"F{i}") for i, pattern in enumerate(IRRELEVANT)]
    assert partition_graph(subject, plugins(*entries, names=names)) == partition_graph(
        subject, plugins(names=names)
    )

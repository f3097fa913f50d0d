"""The plugin manager and the registry."""

import dataclasses
import importlib.metadata
import logging
import types

import pytest

from furiosa_ep.partitioner import plugins
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.plugins import BUILT_IN, build_registry, registry
from furiosa_ep.partitioner.support import Decline, DeclineCode, OperatorSupport, constraint
from furiosa_ep.partitioner.units import node_units

from .graphs import graph, lower_nothing, registry_of


def plugin(*entries):
    class Plugin:
        @hookimpl
        def furiosa_operators(self):
            return entries

    return Plugin()


def support(op_type="Det", **changes):
    return OperatorSupport(op_type, lower_nothing, **changes)


def unit(op_type="Det", opset=None):
    (one,) = node_units(graph(f"y = {op_type}(x)"))
    if opset is not None:
        one = dataclasses.replace(one, node=dataclasses.replace(one.node, opset=opset))
    return one


def owner_of(found):
    assert isinstance(found, OperatorSupport), found
    return found.owner


def test_a_plugin_teaches_an_operator():
    found = build_registry({"mine": plugin(support())})
    assert owner_of(found.support(unit(), graph(""))) == "mine"


def test_built_in_operators_come_through_the_same_hook():
    operators = build_registry({}).operators
    assert operators
    assert {entry.owner for group in operators.values() for entry in group} == {BUILT_IN}


def test_an_unknown_operator_is_declined_as_not_registered():
    declined = build_registry({}).support(unit("Det"), graph(""))
    assert isinstance(declined, Decline)
    assert declined.code == DeclineCode.NOT_REGISTERED
    assert "Det" in declined.reason


def test_the_opset_decides_among_entries():
    old, new = support(since=1, until=12), support(since=13)
    found = build_registry({"mine": plugin(old, new)})
    assert found.support(unit(opset=12), graph("")).until == 12
    assert found.support(unit(opset=13), graph("")).since == 13


def test_an_opset_outside_all_ranges_is_declined_with_the_ranges():
    found = build_registry({"mine": plugin(support(since=11, until=12))})
    declined = found.support(unit(opset=13), graph(""))
    assert declined.code == DeclineCode.OPSET
    assert "11 to 12" in declined.reason
    assert "opset 13" in declined.reason


def test_the_higher_priority_wins_whatever_the_order():
    low, high = plugin(support()), plugin(support(priority=1))
    for both in ({"low": low, "high": high}, {"high": high, "low": low}):
        assert owner_of(build_registry(both).support(unit(), graph(""))) == "high"


def test_equal_priority_is_an_error_that_names_both_and_leaves_the_later_out(caplog):
    found = build_registry({"one": plugin(support()), "two": plugin(support("Erf2"), support())})
    assert owner_of(found.support(unit(), graph(""))) == "one"
    assert ("", "Erf2") not in found.operators
    (record,) = caplog.records
    assert "'one'" in record.message
    assert "'two'" in record.message


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (plugin("no descriptor"), "expected OperatorSupport, found str"),
        (
            types.SimpleNamespace(furiosa_operators=hookimpl(lambda: 1 / 0)),
            "ZeroDivisionError",
        ),
        (types.SimpleNamespace(furiosa_kernelz=hookimpl(lambda: ())), "furiosa_kernelz"),
    ],
)
def test_a_broken_plugin_is_left_out_and_reported_once_by_name(broken, text, caplog):
    with caplog.at_level(logging.WARNING):
        found = build_registry({"broken": broken, "mine": plugin(support())})
    assert owner_of(found.support(unit(), graph(""))) == "mine"
    (record,) = caplog.records
    assert "'broken'" in record.message
    assert text in record.message


def test_entry_points_are_found_and_a_failing_import_is_reported(monkeypatch, caplog):
    group = [
        importlib.metadata.EntryPoint("gone", "furiosa_no_such_module", "furiosa_ep"),
        importlib.metadata.EntryPoint("here", __name__ + ":entry_point_plugin", "furiosa_ep"),
    ]
    monkeypatch.setattr(
        plugins.importlib.metadata,
        "entry_points",
        lambda **asked: group if asked == {"group": "furiosa_ep"} else [],
    )
    registry.cache_clear()
    try:
        found = registry()
        assert registry() is found
    finally:
        registry.cache_clear()
    assert owner_of(found.support(unit(), graph(""))) == "here"
    assert [record.message for record in caplog.records] == [
        "plugin 'gone' is left out: ModuleNotFoundError: No module named 'furiosa_no_such_module'"
    ]


entry_point_plugin = plugin(support())


def test_the_first_constraint_that_fails_is_the_reason():
    @constraint(DeclineCode.RANK, "Mend it.")
    def first(unit, graph):
        """The rank must be 3."""
        return "rank 4"

    @constraint(DeclineCode.DTYPE)
    def second(unit, graph):
        """Never asked."""
        raise AssertionError

    declined = registry_of("Det", constraints=(first, second)).support(unit(), graph(""))
    assert declined == Decline(DeclineCode.RANK, "The rank must be 3. Found: rank 4.", "Mend it.")


def test_a_constraint_that_raises_declines_with_the_plugin_s_name():
    @constraint(DeclineCode.RANK)
    def broken(unit, graph):
        """Works."""
        raise KeyError("oops")

    declined = registry_of("Det", constraints=(broken,)).support(unit(), graph(""))
    assert declined.code == DeclineCode.PLUGIN_ERROR
    assert "'test'" in declined.reason
    assert "broken" in declined.reason
    assert "KeyError: 'oops'" in declined.reason


def test_the_registry_is_immutable():
    found = build_registry({})
    with pytest.raises(TypeError):
        found.operators[("", "New")] = ()

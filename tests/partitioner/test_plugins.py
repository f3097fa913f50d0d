"""The plugin manager and the registry."""

import dataclasses
import logging
import sys
import types
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner import plugins
from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.plugins import build_registry, registry
from furiosa_ep.partitioner.support import (
    Decline,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)
from furiosa_ep.partitioner.units import node_units

from .graphs import graph, lower_nothing, registry_of


def plugin(*entries: Any, name: str = "any") -> object:
    class Plugin:
        @hookimpl
        def furiosa_plugin(self) -> PluginInfo:
            return PluginInfo(name, "1.0")

        @hookimpl
        def furiosa_operators(self) -> Iterable[Any]:
            return entries

    return Plugin()


@hookimpl
def info() -> PluginInfo:
    return PluginInfo("any", "1.0")


def module_with(**names: Any) -> types.ModuleType:
    module = types.ModuleType("acme")
    module.__dict__.update(names, furiosa_plugin=info)
    return module


def support(op_type: str = "Det", **changes: Any) -> OperatorSupport:
    return OperatorSupport(op_type, lower_nothing, **changes)


def unit(op_type: str = "Det", opset: int | None = None) -> NodeUnit:
    (one,) = node_units(graph(f"y = {op_type}(x)"))
    if opset is not None:
        one = dataclasses.replace(one, node=dataclasses.replace(one.node, opset=opset))
    return one


def supported(found: OperatorSupport | Decline) -> OperatorSupport:
    assert isinstance(found, OperatorSupport), found
    return found


def declined(found: OperatorSupport | Decline) -> Decline:
    assert isinstance(found, Decline), found
    return found


def test_a_plugin_teaches_an_operator() -> None:
    found = build_registry({"mine": plugin(support())})
    assert supported(found.support(unit(), graph(""))).owner == "mine"


def test_built_in_operators_come_through_the_same_hook() -> None:
    operators = build_registry({}).operators
    assert operators
    assert {entry.owner for group in operators.values() for entry in group} == {BUILT_IN}


def test_an_unknown_operator_is_declined_as_not_registered() -> None:
    decline = declined(build_registry({}).support(unit("Det"), graph("")))
    assert decline.code == DeclineCode.NOT_REGISTERED
    assert "Det" in decline.reason


def test_the_opset_decides_among_entries() -> None:
    old, new = support(since=1, until=12), support(since=13)
    found = build_registry({"mine": plugin(old, new)})
    assert supported(found.support(unit(opset=12), graph(""))).until == 12
    assert supported(found.support(unit(opset=13), graph(""))).since == 13


def test_an_opset_outside_all_ranges_is_declined_with_the_ranges() -> None:
    found = build_registry({"mine": plugin(support(since=11, until=12))})
    decline = declined(found.support(unit(opset=13), graph("")))
    assert decline.code == DeclineCode.OPSET
    assert "11 to 12" in decline.reason
    assert "opset 13" in decline.reason


def test_the_higher_priority_wins_whatever_the_order() -> None:
    low, high = plugin(support()), plugin(support(priority=1))
    for both in ({"low": low, "high": high}, {"high": high, "low": low}):
        assert supported(build_registry(both).support(unit(), graph(""))).owner == "high"


def test_equal_priority_is_an_error_that_names_both_and_leaves_the_later_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = build_registry({"one": plugin(support()), "two": plugin(support("Erf2"), support())})
    assert supported(found.support(unit(), graph(""))).owner == "one"
    assert ("", "Erf2") not in found.operators
    (record,) = caplog.records
    assert "'one'" in record.message
    assert "'two'" in record.message


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (plugin("no descriptor"), "expected OperatorSupport, found str"),
        (
            types.SimpleNamespace(furiosa_plugin=info, furiosa_operators=hookimpl(lambda: 1 / 0)),
            "ZeroDivisionError",
        ),
        (
            types.SimpleNamespace(furiosa_plugin=info, furiosa_kernelz=hookimpl(lambda: ())),
            "unknown hook furiosa_kernelz",
        ),
        (
            types.SimpleNamespace(furiosa_operators=hookimpl(lambda: (support(),))),
            "no hook furiosa_plugin",
        ),
        (types.SimpleNamespace(furiosa_plugin=hookimpl(lambda: 1)), "expected PluginInfo"),
        (
            types.SimpleNamespace(furiosa_plugin=hookimpl(lambda: PluginInfo("any", "1", 99))),
            "version 99 of the plugin API, this furiosa-ep has version 1",
        ),
    ],
)
def test_a_broken_plugin_is_left_out_and_reported_once_by_name(
    broken: object, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = build_registry({"broken": broken, "mine": plugin(support())})
    assert supported(found.support(unit(), graph(""))).owner == "mine"
    (record,) = caplog.records
    assert "'broken'" in record.message
    assert text in record.message


def test_entry_points_are_found_and_a_failing_import_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entries = f"gone = furiosa_no_such_module\nhere = {__name__}:entry_point_plugin\n"
    _install(tmp_path, "acme-1.0.dist-info", f"[furiosa_ep]\n{entries}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FURIOSA_PLUGINS", "gone,here")  # whatever else is installed
    _forget()
    try:
        found = registry()
        assert registry() is found
        assert [one.source.distribution for one in plugins.plugins()[1:]] == ["acme 1.0"] * 2
    finally:
        _forget()
    assert supported(found.support(unit(), graph(""))).owner == "here"
    assert [record.message for record in caplog.records] == [
        "plugin 'gone' is left out: ModuleNotFoundError: No module named 'furiosa_no_such_module'"
    ]


def _install(folder: Path, metadata: str, entry_points: str) -> None:
    (folder / metadata).mkdir(parents=True)
    (folder / metadata / "entry_points.txt").write_text(entry_points)


def _forget() -> None:
    registry.cache_clear()
    plugins.plugins.cache_clear()


entry_point_plugin = plugin(support(), name="here")


def test_the_first_constraint_that_fails_is_the_reason() -> None:
    @constraint(DeclineCode.RANK, "Mend it.")
    def first(unit: NodeUnit, graph: Graph) -> str | None:
        """The rank must be 3."""
        return "rank 4"

    @constraint(DeclineCode.DTYPE)
    def second(unit: NodeUnit, graph: Graph) -> str | None:
        """Never asked."""
        raise AssertionError

    found = registry_of("Det", constraints=(first, second)).support(unit(), graph(""))
    assert found == Decline(DeclineCode.RANK, "The rank must be 3. Found: rank 4.", "Mend it.")


def test_a_constraint_that_raises_declines_with_the_plugin_s_name() -> None:
    @constraint(DeclineCode.RANK)
    def broken(unit: NodeUnit, graph: Graph) -> str | None:
        """Works."""
        raise KeyError("oops")

    decline = declined(registry_of("Det", constraints=(broken,)).support(unit(), graph("")))
    assert decline.code == DeclineCode.PLUGIN_ERROR
    assert "'test'" in decline.reason
    assert "broken" in decline.reason
    assert "KeyError: 'oops'" in decline.reason


def test_the_registry_is_immutable() -> None:
    found = build_registry({})
    with pytest.raises(TypeError):
        found.operators[("", "New")] = ()  # type: ignore[index]


@pytest.mark.parametrize(
    ("metadata", "text", "expected"),
    [
        ("acme-1.0.dist-info", "[furiosa_ep]\nacme = acme", "acme 1.0"),
        ("acme.egg-info", "[console_scripts]\na = a:b\n\n[furiosa_ep]\n# x = y\nacme=acme", "acme"),
        ("acme-1.0.dist-info", "[furiosa_ep]\nacme = acme [extra]\n[other]\nb = b", "acme 1.0"),
        ("acme-1.0.dist-info", "[console_scripts]\nfuriosa_ep = furiosa_ep.cli:main", None),
        ("acme", "[furiosa_ep]\nacme = acme", None),
    ],
)
def test_entry_points_are_read_where_distributions_have_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    metadata: str,
    text: str,
    expected: str | None,
) -> None:
    _install(tmp_path, metadata, text)
    _install(tmp_path / "later", "acme-0.9.dist-info", "[furiosa_ep]\nold = old")
    path = [str(tmp_path), *([str(tmp_path / "later")] if expected else []), str(tmp_path / "gone")]
    monkeypatch.setattr(sys, "path", path)
    found = [] if expected is None else [plugins.Source("acme", "acme", expected)]
    assert list(plugins._installed()) == found


def test_entry_points_in_an_archive_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(
            "acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0"
        )
        file.writestr("acme-1.0.dist-info/entry_points.txt", "[furiosa_ep]\nacme = acme:x\n")
    monkeypatch.setattr(sys, "path", [str(archive)])
    assert list(plugins._installed()) == [plugins.Source("acme", "acme:x", "acme 1.0")]

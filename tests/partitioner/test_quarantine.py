"""Plugins that fail while a session is made: left out of it, and of nothing else."""

import logging
from typing import Any

import pytest

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.descriptors import (
    Candidate,
    CostModel,
    Lowering,
    PartitionSelection,
    PluginInfo,
)
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.partition import partition_graph
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import PluginError, Registry, Scope
from furiosa_ep.partitioner.report import Report
from furiosa_ep.partitioner.support import DeclineCode, NodeUnit, OperatorSupport, constraint

from .graphs import graph, lower_nothing

BODY = "q = Det2(x) y = Erf2(q)"


class Plugin:
    """A plugin with the descriptors that it is made with."""

    def __init__(self, *targets: str, **descriptors: Any) -> None:
        self._info = PluginInfo("any", "1", targets=targets)
        for hook, found in descriptors.items():
            setattr(self, f"furiosa_{hook}", hookimpl(lambda found=found: found))

    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return self._info


@constraint(DeclineCode.RANK)
def fails(unit: NodeUnit, graph: Graph) -> str | None:
    """Works."""
    raise KeyError("oops")


def support(op_type: str, **changes: Any) -> OperatorSupport:
    return OperatorSupport(op_type, lower_nothing, **changes)


def explain(registry: Registry, claim: str = "all", scope: Scope | None = None) -> Report:
    return partition_graph(graph(BODY), registry, claim=claim, scope=scope or Scope())


def test_a_constraint_that_raises_takes_all_of_its_plugin_out_of_the_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = Plugin(operators=[support("Det2"), support("Erf2", constraints=(fails,))])
    registry = build_registry({"bad": bad})
    det, erf = explain(registry).rows
    assert det.code == erf.code == "plugin-error"
    for text in ("'bad'", "constraint fails", "Erf2(y)", "KeyError: 'oops'"):
        assert text in det.reason
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "'bad'" in record.message


def test_what_the_plugin_overrides_is_taken_instead() -> None:
    bad = Plugin(operators=[support("Det2", priority=1, constraints=(fails,))])
    good = Plugin(operators=[support("Det2"), support("Erf2")])
    rows = explain(build_registry({"bad": bad, "good": good})).rows
    assert [row.plugin for row in rows] == ["good", "good"]


def test_another_session_asks_the_plugin_again() -> None:
    registry = build_registry({"bad": Plugin(operators=[support("Det2", constraints=(fails,))])})
    for _ in range(2):
        scope = Scope()
        explain(registry, scope=scope)
        assert list(scope.quarantine) == ["bad"]


def test_strict_mode_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = build_registry({"bad": Plugin(operators=[support("Det2", constraints=(fails,))])})
    monkeypatch.setenv("FURIOSA_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match="plugin 'bad': constraint fails failed at 'Det2"):
        explain(registry)


def test_a_plugin_for_another_target_takes_nothing() -> None:
    registry = build_registry({"far": Plugin("warboy-2pe", operators=[support("Det2")])})
    assert explain(registry, scope=Scope("warboy-2pe")).rows[0].plugin == "far"
    row = explain(registry).rows[0]
    assert row.code == "not-registered"
    assert "'far' is for the targets warboy-2pe. Found: target warboy." in row.reason


def test_the_cost_model_with_the_highest_priority_decides() -> None:
    models = [CostModel("a", lambda u, g, t: 5.0 if u.node.op_type == "Det2" else None, priority=1)]
    both = [support("Det2"), support("Erf2")]
    plain = build_registry({"x": Plugin(operators=both)})
    assert explain(plain, "profitable").partitions  # 2 for each by the built-in model
    dear = Plugin(operators=both, cost_models=[CostModel("b", lambda u, g, t: -9, priority=2)])
    assert not explain(build_registry({"x": dear}), "profitable").partitions
    one = Plugin(operators=[support("Det2")], cost_models=models)
    assert explain(build_registry({"x": one}), "profitable").partitions


def test_a_cost_model_that_raises_is_left_out() -> None:
    bad = Plugin(cost_models=[CostModel("b", lambda u, g, t: 1 // 0, priority=1)])
    good = Plugin(operators=[support("Det2"), support("Erf2")])
    scope = Scope()
    report = explain(build_registry({"bad": bad, "good": good}), "profitable", scope)
    assert report.partitions
    assert "ZeroDivisionError" in scope.quarantine["bad"]


def test_a_selection_is_chosen_by_name() -> None:
    seen: list[Candidate] = []

    def takes(candidate: Candidate) -> bool:
        seen.append(candidate)
        return len(candidate.units) > 2

    plugin = Plugin(
        operators=[support("Det2"), support("Erf2")],
        selections=[PartitionSelection("large", takes)],
    )
    report = explain(build_registry({"x": plugin}), "large")
    assert not report.partitions
    assert {row.code for row in report.rows} == {"cost"}
    assert [unit.node.op_type for unit in seen[0].units] == ["Det2", "Erf2"]
    assert seen[0].gain == 4


def test_a_lowering_of_another_plugin_is_named_by_the_report() -> None:
    claims = Plugin(operators=[OperatorSupport("Det2"), support("Erf2")])
    (det, erf) = explain(build_registry({"claims": claims})).rows
    assert (det.code, erf.plugin) == ("no-lowering", "claims")
    lowers = Plugin(lowerings=[Lowering("Det2", lower_nothing), Lowering("Erf2", lower_nothing)])
    (det, erf) = explain(build_registry({"claims": claims, "lowers": lowers})).rows
    assert (det.plugin, erf.plugin) == ("lowers", "claims")
    higher = Plugin(lowerings=[Lowering("Erf2", lower_nothing, priority=1)])
    (_, erf) = explain(build_registry({"claims": claims, "higher": higher})).rows
    assert erf.plugin == "higher"


def test_a_kernel_that_nobody_has_is_declined() -> None:
    calls = Plugin(operators=[support("Det2", kernels=("ACME_DET",))])
    row = explain(build_registry({"calls": calls})).rows[0]
    assert row.code == "no-kernel"
    assert "ACME_DET" in row.reason

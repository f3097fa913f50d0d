"""The order of passes: stages, before and after, and what has no right order."""

import graphlib
import logging
import random
from collections.abc import Sequence
from typing import Any

import pytest

from furiosa_ep.graph import DeviceGraph
from furiosa_ep.partitioner.descriptors import GraphPass, PluginInfo, Stage
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.pass_order import with_passes
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import PluginError, Scope


def nothing(graph: DeviceGraph) -> None:
    """A pass that changes nothing."""


def one(name: str, stage: Stage = Stage.SIMPLIFY, owner: str = "acme", **where: Any) -> GraphPass:
    return GraphPass(name, nothing, stage, owner=owner, **where)


def names(*passes: GraphPass) -> list[str]:
    return [each.name for each in with_passes((), passes)]


class Plugin:
    def __init__(self, *passes: GraphPass, targets: tuple[str, ...] = ()) -> None:
        self._passes, self._targets = passes, targets

    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return PluginInfo("any", "1.0", targets=self._targets)

    @hookimpl
    def furiosa_passes(self) -> Sequence[GraphPass]:
        return self._passes


def test_stages_come_in_order() -> None:
    assert names(one("c", Stage.FINISH), one("b", Stage.FUSE), one("a")) == ["a", "b", "c"]


def test_passes_that_say_nothing_keep_their_order() -> None:
    assert names(*map(one, "dbca")) == list("dbca")


def test_a_pass_moves_only_as_far_as_it_must() -> None:
    passes = [*map(one, "abc"), one("x", before=("b",)), one("y", after=("x", "a"))]
    assert names(*passes) == ["a", "x", "b", "c", "y"]


def test_names_of_passes_that_do_not_exist_count_for_nothing() -> None:
    assert names(one("a", before=("gone",), after=("gone", "missing")), one("b")) == ["a", "b"]


def test_a_name_of_a_pass_that_comes_later_counts() -> None:
    first = with_passes((), [one("a", after=("b",))])
    assert [each.name for each in with_passes(first, [one("b")])] == ["b", "a"]


def test_passes_of_other_stages_may_be_named_where_the_stages_agree() -> None:
    passes = [one("late", Stage.FINISH, after=("early",)), one("early", before=("late", "late"))]
    assert names(*passes) == ["early", "late"]


@pytest.mark.parametrize("where", [{"after": ("late",)}, {"before": ("early",)}])
def test_stages_that_contradict_the_names_are_an_error(where: dict[str, Any]) -> None:
    stage = Stage.SIMPLIFY if "after" in where else Stage.FINISH
    with pytest.raises(PluginError, match=r"in stage finish is to run before .* in stage simplify"):
        names(one("early"), one("late", Stage.FINISH), one("mine", stage, **where))


def test_a_cycle_names_the_passes_and_their_owners() -> None:
    passes = [
        one("a", owner="one", after=("c",)),
        one("b", owner="two", after=("a",)),
        one("c", owner="three", after=("b",)),
        one("d", after=("a",)),
    ]
    with pytest.raises(PluginError) as error:
        names(*passes)
    text = str(error.value)
    assert text.endswith("a of 'one', c of 'three', b of 'two'")


def test_a_pass_behind_itself_is_a_cycle() -> None:
    with pytest.raises(PluginError, match="last behind the first: a of 'acme'"):
        names(one("a", after=("a",)))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (one("a", before="fuse-tables"), "before and after are tuples of names"),
        (one("a", after="fuse-tables"), "before and after are tuples of names"),
        (one("a", "last"), "stage 'last': expected simplify, fuse, finish"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_placed_is_an_error(broken: GraphPass, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        names(broken)


def test_any_relation_without_a_cycle_is_kept() -> None:
    for seed in range(300):
        r = random.Random(seed)
        every = [f"p{i}" for i in range(r.randrange(1, 9))]
        passes = [
            one(
                name,
                before=tuple(r.sample(every, r.randrange(2) if len(every) > 1 else 0)),
                after=tuple(r.sample(every, r.randrange(2) if len(every) > 1 else 0)),
            )
            for name in every
        ]
        sorter = graphlib.TopologicalSorter[str]()
        for each in passes:
            sorter.add(each.name, *each.after)
            for name in each.before:
                sorter.add(name, each.name)
        try:
            sorter.prepare()
        except graphlib.CycleError:
            with pytest.raises(PluginError):
                names(*passes)
            continue
        found = names(*passes)
        assert sorted(found) == every
        for each in passes:
            assert all(found.index(name) < found.index(each.name) for name in each.after)
            assert all(found.index(name) > found.index(each.name) for name in each.before)


def test_plugins_find_their_places_among_the_built_in_passes() -> None:
    registry = build_registry(
        {
            "acme": Plugin(one("acme-first", before=("merge-functions",)), one("acme-last")),
            "other": Plugin(one("other", Stage.FUSE, after=("fuse-residual-adds",))),
        }
    )
    found = [each.name for each in registry.passes]
    built_in = [each.name for each in registry.passes if each.owner == BUILT_IN]
    assert built_in == [each.name for each in build_registry({}).passes]
    assert found.index("acme-first") == found.index("merge-functions") - 1
    assert found.index("acme-last") == found.index("fuse-tables") - 1
    assert found.index("other") > found.index("fold-pads")
    assert {each.name: each.owner for each in registry.passes}["other"] == "other"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (one("wrong", before=("merge-functions",), after=("join-slices",)), ("wrong of 'two'",)),
        (one("same"), ("pass same", "both 'one' and 'two'")),
        (one("fuse-tables"), ("pass fuse-tables", "both 'furiosa_ep' and 'two'")),
        (one("back", before=("same",), after=("same",)), ("same of 'one'", "back of 'two'")),
    ],
)
def test_the_plugin_that_closes_a_cycle_or_takes_a_name_is_left_out(
    wrong: GraphPass, words: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        registry = build_registry(
            {"one": Plugin(one("same")), "two": Plugin(one("good"), wrong), "z": Plugin(one("z"))}
        )
    owners = {each.owner for each in registry.passes}
    assert owners == {BUILT_IN, "one", "z"}
    (record,) = caplog.records
    assert "'two' is left out" in record.message
    assert all(word in record.message for word in words)


def test_a_session_runs_the_passes_of_plugins_that_it_uses() -> None:
    registry = build_registry(
        {"one": Plugin(one("a")), "two": Plugin(one("b"), targets=("warboy-2pe",))}
    )

    def owners(scope: Scope) -> set[str]:
        return {each.owner for each in registry.passes_for(scope)} - {BUILT_IN}

    assert owners(Scope()) == {"one"}
    assert owners(Scope(target="warboy-2pe")) == {"one", "two"}
    assert owners(Scope(quarantine={"one": "failed"})) == set()
    assert owners(Scope(without_passes={"one": "failed"})) == set()

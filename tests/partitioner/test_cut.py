"""The cut: convex partitions, none that could be spared."""

from collections.abc import Collection, Sequence
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.partitioner.cut import Cut, cut

NPU, CPU, SHAPE = "npu", "cpu", "shape"

Case = tuple[list[set[int]], list[str]]
"""Reads of each unit, and its kind."""


@st.composite
def unit_graphs(
    draw: st.DrawFn, most: int = 24, kinds: Sequence[str] = (NPU, NPU, CPU, SHAPE)
) -> Case:
    size = draw(st.integers(1, most))
    reads = [
        set() if not unit else draw(st.sets(st.integers(0, unit - 1), max_size=3))
        for unit in range(size)
    ]
    return reads, draw(st.lists(st.sampled_from(kinds), min_size=size, max_size=size))


def cut_of(reads: Sequence[set[int]], kinds: Sequence[str], exported: Collection[int] = ()) -> Cut:
    return cut(
        reads,
        [kind == NPU for kind in kinds],
        [kind == SHAPE for kind in kinds],
        [unit in exported for unit in range(len(reads))],
    )


def is_acyclic_when_fused(reads: Sequence[set[int]], levels: Sequence[int | None]) -> bool:
    """Whether the graph has no cycle when each partition becomes one node."""
    names = [("npu", level) if level is not None else ("cpu", i) for i, level in enumerate(levels)]
    edges: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for unit, producers in enumerate(reads):
        for one in producers:
            if names[one] != names[unit]:
                edges.setdefault(names[one], set()).add(names[unit])
    state: dict[tuple[str, int], str] = {}

    def visit(name: tuple[str, int]) -> bool:
        if state.get(name) == "open":
            return False
        if name not in state:
            state[name] = "open"
            if not all(visit(after) for after in edges.get(name, ())):
                return False
            state[name] = "done"
        return True

    return all(visit(name) for name in names)


@settings(max_examples=1000, deadline=None)
@given(unit_graphs(), st.sets(st.integers(0, 23), max_size=3))
def test_partitions_are_convex_and_hold_every_claimed_unit(case: Case, exported: set[int]) -> None:
    reads, kinds = case
    result = cut_of(reads, kinds, exported)
    assert is_acyclic_when_fused(reads, result.levels)
    for level, kind in zip(result.levels, kinds, strict=True):
        if kind != SHAPE:
            assert (level is not None) == (kind == NPU)


@settings(max_examples=1000, deadline=None)
@given(unit_graphs(), st.sets(st.integers(0, 23), max_size=3))
def test_shape_arithmetic_is_with_all_its_readers_or_on_the_cpu(
    case: Case, exported: set[int]
) -> None:
    reads, kinds = case
    levels = cut_of(reads, kinds, exported).levels
    unmet: set[int] = set()
    for unit, kind in enumerate(kinds):
        readers = [i for i, producers in enumerate(reads) if unit in producers]
        if kind == SHAPE and levels[unit] is not None:
            assert unit not in exported
            assert readers
            assert {levels[one] for one in readers} == {levels[unit]}
        elif kind == SHAPE:
            unmet.update(one for one in readers if kinds[one] == NPU)
    assert cut_of(reads, kinds, exported).unmet == unmet


@settings(max_examples=200, deadline=None)
@given(unit_graphs(most=7, kinds=(NPU, NPU, CPU)))
def test_no_cut_has_fewer_partitions(case: Case) -> None:
    reads, kinds = case
    levels = cut_of(reads, kinds).levels
    count = len({level for level in levels if level is not None})
    claimed = [unit for unit, kind in enumerate(kinds) if kind == NPU]
    for assignment in product(range(count - 1), repeat=len(claimed)) if count > 1 else ():
        other: list[int | None] = [None] * len(kinds)
        for unit, level in zip(claimed, assignment, strict=True):
            other[unit] = level
        assert not is_acyclic_when_fused(reads, other)


@pytest.mark.parametrize(
    ("reads", "kinds", "expected"),
    [
        # One branch on the CPU beside one on the NPU: the end cannot be with the start.
        ([set(), {0}, {0}, {1, 2}], [NPU, CPU, NPU, NPU], (0, None, 0, 1)),
        # Nothing on the CPU lies between: branches stay together.
        ([set(), {0}, {0}, {1}], [NPU, CPU, NPU, CPU], (0, None, 0, None)),
        # What has no connection is one partition, too.
        ([set(), set()], [NPU, NPU], (0, 0)),
        # A producer that only a later partition needs is in that one.
        ([set(), {0}, {1}, set(), {2, 3}], [NPU, CPU, NPU, NPU, NPU], (0, None, 1, 1, 1)),
        # The shape of a value from the partition before.
        ([set(), {0}, {0}, {1, 2}], [NPU, CPU, SHAPE, NPU], (0, None, 1, 1)),
        # The shape of a value from the CPU.
        ([set(), {0}, {1}, {2}], [NPU, CPU, SHAPE, NPU], (0, None, 1, 1)),
    ],
)
def test_examples(
    reads: list[set[int]], kinds: list[str], expected: tuple[int | None, ...]
) -> None:
    assert cut_of(reads, kinds).levels == expected


def test_a_shape_for_two_partitions_is_on_the_cpu_and_unmet() -> None:
    reads: list[set[int]] = [set(), {0}, {1}, {0, 2}]
    result = cut_of(reads, [SHAPE, NPU, CPU, NPU])
    assert result.levels == (None, 0, None, 1)
    assert result.unmet == {1, 3}


def test_a_long_alternation_has_a_partition_for_each_turn() -> None:
    size = 2001
    reads: list[set[int]] = [set(), *({unit - 1} for unit in range(1, size))]
    levels = cut_of(reads, [NPU if unit % 2 == 0 else CPU for unit in range(size)]).levels
    assert [level for level in levels if level is not None] == list(range(size // 2 + 1))


def test_components_are_what_connects_inside_a_partition() -> None:
    reads: list[set[int]] = [set(), {0}, {1}, {0, 2}, set()]
    result = cut_of(reads, [NPU, CPU, NPU, NPU, NPU])
    assert sorted(map(sorted, result.components(reads))) == [[0], [2, 3], [4]]
    for first, second in pairwise(sorted(result.components(reads))):
        assert not set(first) & set(second)

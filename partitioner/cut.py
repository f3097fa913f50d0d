"""The cut of a graph into partitions: convex, as few as possible, in linear time.

Works on positions of node units in topological order. Convex means that no path leaves a partition
and comes back; two partitions never need each other either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """Where every unit goes."""

    levels: tuple[int | None, ...]
    """The partition of each unit; None for those that are left to the CPU. Not all numbers need
    occur."""
    unmet: frozenset[int]
    """Units that read shape arithmetic which is left to the CPU: they cannot be claimed."""

    def partitions(self) -> list[list[int]]:
        """The units of each partition, in the order in which partitions may run."""
        groups: dict[int, list[int]] = {}
        for unit, level in enumerate(self.levels):
            if level is not None:
                groups.setdefault(level, []).append(unit)
        return [groups[level] for level in sorted(groups)]

    def components(self, reads: Sequence[set[int]]) -> list[list[int]]:
        """The units of each partition, apart where nothing connects them inside it."""
        groups: dict[int, list[int]] = {}
        root = list(range(len(self.levels)))
        for unit, level in enumerate(self.levels):
            for producer in reads[unit]:
                if level is not None and self.levels[producer] == level:
                    root[_find(root, producer)] = _find(root, unit)
        for unit, level in enumerate(self.levels):
            if level is not None:
                groups.setdefault(_find(root, unit), []).append(unit)
        return list(groups.values())


def cut(
    reads: Sequence[set[int]],
    claimed: Sequence[bool],
    shape: Sequence[bool],
    exported: Sequence[bool],
) -> Cut:
    """The partitions of the claimed units.

    Args:
        reads: for each unit the units that it reads from, all of them before it.
        claimed: units that the NPU takes.
        shape: shape arithmetic (never claimed by itself): it goes where all its readers go, and
            to the CPU if they go to different places.
        exported: units with outputs of the whole graph; shape arithmetic among them stays out.

    The level of a unit is the number of times that a path to it leaves the NPU and comes back.
    Units of one level form a partition: a path out of it and back would have raised the level.
    No cut has fewer partitions, since each level has a unit that needs one of the level before,
    through the CPU.
    """
    users: list[list[int]] = [[] for _ in reads]
    for unit, producers in enumerate(reads):
        for producer in producers:
            users[producer].append(unit)
    inside = list(shape)
    while True:
        levels = _levels(reads, claimed, inside)
        _sink(reads, users, levels, claimed, exported)
        left = list(_placed_shapes(users, levels, claimed, inside, exported))
        if not left:
            break
        for unit in left:
            inside[unit] = False
    unmet = frozenset(
        user
        for unit, is_shape in enumerate(shape)
        if is_shape and not inside[unit]
        for user in users[unit]
        if claimed[user]
    )
    taken = (claimed[unit] or inside[unit] for unit in range(len(reads)))
    return Cut(tuple(levels[unit] if yes else None for unit, yes in enumerate(taken)), unmet)


def _levels(
    reads: Sequence[set[int]], claimed: Sequence[bool], inside: Sequence[bool]
) -> list[int]:
    """The lowest level of every unit."""
    levels: list[int] = []
    for unit, producers in enumerate(reads):
        on_cpu = not (claimed[unit] or inside[unit])
        levels.append(
            max((levels[one] + (on_cpu and claimed[one]) for one in producers), default=0)
        )
    return levels


def _sink(
    reads: Sequence[set[int]],
    users: Sequence[list[int]],
    levels: list[int],
    claimed: Sequence[bool],
    exported: Sequence[bool],
) -> None:
    """Move what only later partitions need into the first of them: one border less."""
    marked = tuple(level if yes else None for level, yes in zip(levels, claimed, strict=True))
    components = Cut(marked, frozenset()).components(reads)
    for component in sorted(components, key=lambda units: -levels[units[0]]):
        members = set(component)
        outside = [user for one in component for user in users[one] if user not in members]
        if (
            outside
            and all(map(claimed.__getitem__, outside))
            and not any(exported[one] for one in component)
        ):
            for one in component:
                levels[one] = min(levels[user] for user in outside)


def _placed_shapes(
    users: Sequence[list[int]],
    levels: list[int],
    claimed: Sequence[bool],
    inside: Sequence[bool],
    exported: Sequence[bool],
) -> Iterator[int]:
    """Put shape arithmetic where its readers are; yields the units whose readers are apart."""
    apart: set[int] = set()
    for unit in reversed(range(len(levels))):
        if not inside[unit]:
            continue
        readers = users[unit]
        places = {levels[one] for one in readers}
        stays = all((claimed[one] or inside[one]) and one not in apart for one in readers)
        if len(places) == 1 and stays and not exported[unit]:
            levels[unit] = places.pop()
        else:
            apart.add(unit)
            yield unit


def _find(root: list[int], unit: int) -> int:
    while root[unit] != unit:
        root[unit] = root[root[unit]]
        unit = root[unit]
    return unit

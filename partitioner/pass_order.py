"""The order in which passes run."""

from collections.abc import Iterable, Mapping, Sequence

from furiosa_ep.partitioner.descriptors import GraphPass, Stage
from furiosa_ep.partitioner.registry import PluginError

_STAGES = tuple(Stage)


def with_passes(passes: Sequence[GraphPass], more: Iterable[GraphPass]) -> tuple[GraphPass, ...]:
    """All passes in the order in which they run.

    Stages come in order. Within one, a pass runs behind those that it names in `after` and those
    that name it in `before`, otherwise behind the passes that were there before it. Names of passes
    that do not exist count for nothing.

    Raises:
        PluginError: where a name is taken, or no order is right; names the passes and owners.
    """
    named = {one.name: one for one in passes}
    for one in more:
        if one.name in named:
            raise PluginError(
                f"pass {one.name}: both {named[one.name].owner!r} and {one.owner!r} have it; "
                "give one of them another name"
            )
        if isinstance(one.before, str) or isinstance(one.after, str):
            raise PluginError(f"pass {one.name}: before and after are tuples of names")
        if one.stage not in _STAGES:
            raise PluginError(f"pass {one.name}: stage {one.stage!r}: expected {', '.join(Stage)}")
        named[one.name] = one
    return tuple(passes) if len(named) == len(passes) else _ordered(named)


def _ordered(named: Mapping[str, GraphPass]) -> tuple[GraphPass, ...]:
    stages = {name: _STAGES.index(one.stage) for name, one in named.items()}
    needs: dict[str, list[str]] = {name: [] for name in named}
    for name, one in named.items():
        for other in one.before:
            if other in named:
                needs[other].append(name)
        needs[name] += [other for other in one.after if other in named]
    placed: dict[str, GraphPass] = {}
    waiting: list[str] = []

    def place(name: str) -> None:
        """Place a pass behind all that it needs."""
        if name in placed:
            return
        if name in waiting:
            cycle = ", ".join(_described(named[one]) for one in waiting[waiting.index(name) :])
            raise PluginError(
                f"passes that run each behind the next one, and the last behind the first: {cycle}"
            )
        waiting.append(name)
        for other in needs[name]:
            if stages[other] > stages[name]:
                raise PluginError(
                    f"pass {_described(named[other])} in stage {named[other].stage} is to run "
                    f"before {_described(named[name])} in stage {named[name].stage}"
                )
            place(other)
        waiting.pop()
        placed[name] = named[name]

    for name in sorted(named, key=stages.__getitem__):
        place(name)
    return tuple(placed.values())


def _described(one: GraphPass) -> str:
    return f"{one.name} of {one.owner!r}"

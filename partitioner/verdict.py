"""What takes a node unit, or why nothing does, whatever its neighbours are."""

import bisect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.descriptors import Lowering
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.memory import dram_decline, dram_need, is_near_sram, unit_decline
from furiosa_ep.partitioner.registry import PluginError, Registry, Scope, operator_name
from furiosa_ep.partitioner.shape_arithmetic import SHAPE_READERS, shape_values
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit, OperatorSupport
from furiosa_ep.partitioner.units import has_subgraph

Verdict = OperatorSupport | Decline | None
"""What takes a unit, or why nothing does; None for shape arithmetic."""


class Trial(Protocol):
    """The compiler, as the partitioner asks it.

    What it gives are bytes of DRAM; 0 for open shapes, of which it knows nothing yet.
    """

    def unit(
        self, unit: NodeUnit, graph: Graph, lowering: Lowering, plugins: Registry, scope: Scope
    ) -> Decline | int:
        """Compiles a unit alone, or says why it does not fit; raises where it cannot be lowered."""

    def partition(
        self, nodes: Collection[int], graph: Graph, plugins: Registry, scope: Scope
    ) -> Decline | int:
        """Compiles nodes together, or says why they do not fit."""


@dataclass
class Verdicts:
    """Decides about the units of a graph, for one session."""

    graph: Graph
    plugins: Registry
    disabled: Collection[str]
    scope: Scope
    trial: Trial | None
    _alone: dict[NodeUnit, int] = field(default_factory=dict)
    """The DRAM of what was compiled on trial."""
    _together: dict[frozenset[int], Decline | int] = field(default_factory=dict)
    """The same of partitions, by their nodes."""

    def of(self, unit: NodeUnit) -> Verdict:
        """What takes a unit, or why nothing does."""
        for kind in (unit.key, *((node.domain, node.op_type) for node in unit.nodes)):
            if operator_name(*kind) in self.disabled:
                return Decline(
                    DeclineCode.DISABLED_BY_OPTION,
                    "Provider option disabled_ops must not name the operator. "
                    f"Found: {operator_name(*kind)}.",
                    "Remove it from the option.",
                )
        if has_subgraph(unit.node):
            return Decline(
                DeclineCode.NO_KERNEL,
                f"The NPU has no control flow. Found: {unit.node.op_type} with a subgraph.",
                "Unroll the loop, or take the branch in your program.",
            )
        if is_shape_arithmetic(unit, self.graph):
            return None
        try:
            return self._supported(unit)
        except PluginError:
            raise
        except Exception as error:
            return Decline(
                DeclineCode.INTERNAL,
                f"Looking up {unit.node.op_type} failed: {type(error).__name__}: {error}",
                "Report it with the model.",
            )

    def beyond_memory(
        self, partitions: Iterable[Sequence[NodeUnit]], claimed: Collection[NodeUnit]
    ) -> dict[NodeUnit, Decline]:
        """The units that partitions have to give up so that all of them fit into DRAM together.

        Of the first partition that does not fit beside those before it, what comes last is given
        up; or, where the compiler finds that SRAM is the reason, what nearly fills it. More may
        have to go, which another call tells.
        """
        target = self.plugins.target(self.scope)
        if target is None:
            return {}
        left = target.dram_bytes
        for units in partitions:
            need = dram_need(units, self.graph, target, self._alone)
            near = [one for one in units if is_near_sram(one, self.graph, target)]
            surely = need.most <= target.dram_bytes and not near
            size = need.total if surely else self._size(units, need.total)
            if isinstance(size, Decline):
                own = [one for one in near if one in claimed]
                half = need.total // 2
                return dict.fromkeys(own or self._last(units, claimed, half, target), size)
            if size > left:
                last = self._last(units, claimed, need.total * left // size, target)
                return dict.fromkeys(last, dram_decline(need, size, left, target))
            left -= size
        return {}

    def _size(self, units: Sequence[NodeUnit], estimate: int) -> int | Decline:
        """What a partition takes of DRAM by the compiler, or by an estimate if it cannot know."""
        nodes = frozenset(node.index for unit in units for node in unit.nodes)
        if self.trial is None:
            return estimate
        if nodes not in self._together:
            try:
                found = self.trial.partition(nodes, self.graph, self.plugins, self.scope)
            except PluginError:
                raise
            except Exception:  # which is told where the partition is compiled
                found = 0
            self._together[nodes] = found
        return self._together[nodes] or estimate

    def _last(
        self, units: Sequence[NodeUnit], claimed: Collection[NodeUnit], room: int, target: Target
    ) -> list[NodeUnit]:
        """The claimed units behind the longest beginning of which an estimate fits into `room`."""
        own = [unit for unit in units if unit in claimed]

        def size(count: int) -> int:
            return dram_need(own[:count], self.graph, target, self._alone).total

        kept = bisect.bisect_right(range(1, len(own)), room, key=size)
        return own[kept:]

    def _supported(self, unit: NodeUnit) -> OperatorSupport | Decline:
        found = self.plugins.support(unit, self.graph, self.scope)
        if isinstance(found, Decline):
            return found
        target = self.plugins.target(self.scope)
        decline = unit_decline(unit, self.graph, target) if target else None
        return decline or self._try(found, unit) or found

    def _try(self, found: OperatorSupport, unit: NodeUnit) -> Decline | None:
        """Why a unit of a third party's plugin does not fit when it is compiled.

        Quarantines the plugin where it cannot be compiled at all.
        """
        if self.trial is None or (
            found.owner == BUILT_IN and unit.key not in self.plugins.lowerings
        ):
            return None
        lowering = self.plugins.lowering(found, unit, self.scope)
        if lowering is None or lowering.owner == BUILT_IN:
            return None
        try:
            size = self.trial.unit(unit, self.graph, lowering, self.plugins, self.scope)
        except (Exception, SystemExit) as error:
            reason = f"lowering of {unit.label!r} failed: {type(error).__name__}: {error}"
            self.scope.leave_out(lowering.owner, reason)
            return None
        if isinstance(size, Decline):
            return size
        self._alone[unit] = size
        return None


def is_shape_arithmetic(unit: NodeUnit, graph: Graph) -> bool:
    """Whether a unit computes nothing but shapes, or from them."""
    values = shape_values(graph)
    return (
        all(name in values for name in unit.node.outputs if name)
        and any(unit.node.outputs)
        and (len(unit.nodes) == 1 or unit.node.op_type in SHAPE_READERS)
    )

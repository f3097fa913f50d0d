"""The registry: what the loaded plugins provide, by what it is looked up by. Immutable."""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.graph import Graph
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.partitioner import environment
from furiosa_ep.partitioner.descriptors import Candidate, CostModel, GraphPass, Lowering
from furiosa_ep.partitioner.patterns import Pattern
from furiosa_ep.partitioner.report import Claim
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit, OperatorSupport

Key = tuple[str, str]
"""Domain and type of an operator."""
Place = tuple[object, ...]
"""What tells a unit that a pattern has fused from others of a graph, and of any part of it."""

_log = logging.getLogger(__name__)


class PluginError(Exception):
    """What a plugin provides cannot be used; the message says why."""


class PerOperator(Protocol):
    """A descriptor of an operator in a range of opsets."""

    @property
    def op_type(self) -> str: ...  # noqa: D102
    @property
    def domain(self) -> str: ...  # noqa: D102
    @property
    def since(self) -> int: ...  # noqa: D102
    @property
    def until(self) -> int | None: ...  # noqa: D102
    @property
    def priority(self) -> int: ...  # noqa: D102
    @property
    def owner(self) -> str: ...  # noqa: D102


Entry = TypeVar("Entry", bound=PerOperator)
Table = Mapping[Key, tuple[Entry, ...]]
"""Highest priority first."""


@dataclass
class Scope:
    """What one session makes of the plugins."""

    target: str = "warboy"
    python_kernels: bool = False
    """Whether kernels that take Python's GIL may run."""
    quarantine: dict[str, str] = field(default_factory=dict)
    """Plugins that have failed in this session, and how."""
    without_passes: dict[str, str] = field(default_factory=dict)
    """Plugins whose passes have failed in this session, and how. What they have claimed by then is
    lowered nevertheless."""
    fused: dict[Place, bool] = field(default_factory=dict)
    """By place whether the partitioner takes what a pattern matches: the compiler, who sees less of
    the model, follows it."""

    @property
    def variant(self) -> int:
        """A number that is equal for scopes, within a process, that compile alike."""
        left = frozenset(place for place, taken in self.fused.items() if not taken)
        return hash((self.target, frozenset(self.quarantine), left))

    def leave_out(self, plugin: str, what: str) -> None:
        """Use nothing of a plugin from now on, and report why.

        Raises:
            PluginError: in strict mode.
        """
        self._leave_out(self.quarantine, f"plugin {plugin!r} is", plugin, what)

    def leave_out_passes(self, plugin: str, what: str) -> None:
        """Run no pass of a plugin from now on, and report why.

        Raises:
            PluginError: in strict mode.
        """
        self._leave_out(self.without_passes, f"passes of plugin {plugin!r} are", plugin, what)

    def _leave_out(self, failed: dict[str, str], subject: str, plugin: str, what: str) -> None:
        if environment.is_strict():
            raise PluginError(f"plugin {plugin!r}: {what}")
        if failed.setdefault(plugin, what) is what:  # Otherwise another thread has reported it.
            _log.warning("%s left out of this session: %s", subject, what)


@dataclass(frozen=True, eq=False)
class Registry:
    """What the loaded plugins provide."""

    operators: Table[OperatorSupport]
    lowerings: Table[Lowering] = field(default_factory=dict)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    """By opcode."""
    passes: tuple[GraphPass, ...] = ()
    """In the order in which they run."""
    targets_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By plugin the targets that it is for, where it is not for all."""
    named: Callable[[str], Mapping[str, Any]] = lambda _hook: {}
    """The descriptors of one of the other hooks by name, such as those of `furiosa_targets`."""
    notify: Callable[..., None] = lambda _hook, **_event: None
    """Calls a hook of all plugins that have it, such as `furiosa_partitioned`, with what the
    functions give that are its arguments."""

    def support(
        self, unit: NodeUnit, graph: Graph, scope: Scope | None = None
    ) -> OperatorSupport | Decline:
        """The entry that takes and lowers the unit, or why there is none.

        A plugin whose constraint raises is quarantined in `scope`.
        """
        scope = scope or Scope()
        entry = self.entry(unit, scope)
        if isinstance(entry, Decline):
            return entry
        return self._first_decline(entry, unit, graph, scope) or entry

    def entry(self, unit: NodeUnit, scope: Scope | None = None) -> OperatorSupport | Decline:
        """The entry for the unit's operator and opset, whatever its constraints say."""
        scope = scope or Scope()
        entries = [one for one in self.operators.get(unit.key, ()) if one.pattern == unit.pattern]
        if not entries:
            name = operator_name(*unit.key)
            return Decline(
                DeclineCode.NOT_REGISTERED,
                f"No plugin supports {name}.",
                "Replace the operator, or teach the NPU in a plugin (docs/plugins).",
            )
        # An elementwise chain is of no opset: what evaluates it knows its operators.
        fitting = [one for one in entries if unit.chain or covers(one, unit.node.opset)]
        if not fitting:
            ranges = ", ".join(sorted({opset_range(one) for one in entries}))
            return Decline(
                DeclineCode.OPSET,
                f"{operator_name(*unit.key)} is supported for opset {ranges}. "
                f"Found: opset {unit.node.opset}.",
                "Convert the model with onnx.version_converter.",
            )
        usable = next((one for one in fitting if self._usable(one.owner, scope)), None)
        return usable or self._unusable(fitting[0], scope)

    def lowering(self, entry: OperatorSupport, unit: NodeUnit, scope: Scope) -> Lowering | None:
        """How a unit that `entry` takes is lowered; None where nothing lowers it."""
        found = [
            one
            for one in self.lowerings.get(unit.key, ())
            if (unit.chain or covers(one, unit.node.opset)) and self._usable(one.owner, scope)
        ]
        if entry.lower is not None and not (found and found[0].priority > entry.priority):
            return Lowering(
                entry.op_type,
                entry.lower,
                entry.domain,
                priority=entry.priority,
                kernels=entry.kernels,
                owner=entry.owner,
            )
        return found[0] if found else None

    @functools.cached_property
    def patterns(self) -> tuple[OperatorSupport, ...]:
        """The entries that take several nodes as one, highest priority first.

        Also those that a session cannot use: what they match is declined for that reason.
        """
        found = (one for group in self.operators.values() for one in group if one.pattern)
        return tuple(sorted(found, key=lambda one: -one.priority))

    def passes_for(self, scope: Scope) -> tuple[GraphPass, ...]:
        """The passes that a session runs, in order."""
        return tuple(
            one
            for one in self.passes
            if self._usable(one.owner, scope) and one.owner not in scope.without_passes
        )

    def claim(self, entry: OperatorSupport, unit: NodeUnit, scope: Scope) -> Claim | None:
        """Who lowers a unit that `entry` takes, for the report."""
        lowering = self.lowering(entry, unit, scope)
        if lowering is None:
            return None
        in_python = (opcode for opcode in lowering.kernels if not self._runs_natively(opcode))
        fused = operator_name(*unit.key) if unit.pattern else ""
        return Claim(lowering.owner, tuple(in_python), fused)

    def takes(self, claim: str, units: Sequence[NodeUnit], graph: Graph, scope: Scope) -> bool:
        """Whether the selection named `claim` takes a partition of these units."""
        selection = self.named("furiosa_selections").get(claim)
        if selection is None:
            return False
        gain = sum(self._gain(unit, graph, scope) for unit in units)
        try:
            return bool(selection.takes(Candidate(tuple(units), graph, gain)))
        except Exception as error:
            scope.leave_out(selection.owner, f"selection {claim}: {type(error).__name__}: {error}")
            return False

    def target(self, scope: Scope) -> Target | None:
        """The device that a session compiles for; None where no plugin has it."""
        found: Target | None = self.named("furiosa_targets").get(scope.target)
        return found

    def _gain(self, unit: NodeUnit, graph: Graph, scope: Scope) -> float:
        target = self.target(scope)
        for model in self._cost_models:
            if target is None or not self._usable(model.owner, scope):
                continue
            try:
                gain = model.gain(unit, graph, target)
            except Exception as error:
                scope.leave_out(
                    model.owner,
                    f"cost model {model.name} failed at {unit.label!r}: "
                    f"{type(error).__name__}: {error}",
                )
                continue
            if gain is not None:
                return gain
        return 0

    @functools.cached_property
    def _cost_models(self) -> tuple[CostModel, ...]:
        models = self.named("furiosa_cost_models").values()
        return tuple(sorted(models, key=lambda one: -one.priority))

    def _runs_natively(self, opcode: str) -> bool:
        from furiosa_ep.device_emulator.library import active_isa

        return self.kernels[opcode].native_for(active_isa()) is not None

    def _usable(self, owner: str, scope: Scope) -> bool:
        targets = self.targets_of.get(owner)
        return owner not in scope.quarantine and (not targets or scope.target in targets)

    def _unusable(self, entry: OperatorSupport, scope: Scope) -> Decline:
        if entry.owner in scope.quarantine:
            return Decline(
                DeclineCode.PLUGIN_ERROR,
                f"Plugin {entry.owner!r} is left out of this session: "
                f"{scope.quarantine[entry.owner]}",
                f"Report it to the authors of {entry.owner!r}.",
            )
        return Decline(
            DeclineCode.NOT_REGISTERED,
            f"Plugin {entry.owner!r} is for the targets {', '.join(self.targets_of[entry.owner])}. "
            f"Found: target {scope.target}.",
            "Choose another target.",
        )

    def _first_decline(
        self, entry: OperatorSupport, unit: NodeUnit, graph: Graph, scope: Scope
    ) -> Decline | None:
        for check in entry.constraints:
            try:
                decline = check(unit, graph)
            except Exception as error:
                name = getattr(check, "__name__", repr(check))
                scope.leave_out(
                    entry.owner,
                    f"constraint {name} failed at {unit.label!r}: {type(error).__name__}: {error}",
                )
                return self._unusable(entry, scope)
            if decline is not None:
                return decline
        lowering = self.lowering(entry, unit, scope)
        if lowering is None:
            return Decline(
                DeclineCode.NO_LOWERING,
                f"Plugin {entry.owner!r} takes {operator_name(*unit.key)}, but nothing lowers it.",
                "Install the plugin that does.",
            )
        return next(filter(None, (self._kernel_decline(k, scope) for k in lowering.kernels)), None)

    def _kernel_decline(self, opcode: str, scope: Scope) -> Decline | None:
        kernel = self.kernels.get(opcode)
        if kernel is None:
            return Decline(
                DeclineCode.NO_KERNEL,
                f"Kernel {opcode} must be registered. Found: no plugin that has it.",
                "Install the plugin that has it.",
            )
        if scope.python_kernels or self._runs_natively(opcode):
            return None
        return Decline(
            DeclineCode.NO_KERNEL,
            f"A kernel must have a native function for this machine, for its NumPy reference takes "
            f"Python's GIL. Found: {opcode} of plugin {kernel.owner!r}.",
            "Provider option python_kernels=allow lets it run nevertheless.",
        )


def with_entries(table: Table[Entry], entries: Iterable[Entry]) -> dict[Key, tuple[Entry, ...]]:
    """A table with more entries.

    Raises:
        PluginError: where two of equal priority and with equal patterns cover the same opset.
    """
    result = dict(table)
    for entry in entries:
        key = (entry.domain, entry.op_type)
        others = result.get(key, ())
        for other in others:
            if (
                other.priority == entry.priority
                and _pattern(other) == _pattern(entry)
                and _overlap(other, entry)
            ):
                raise PluginError(
                    f"{operator_name(*key)}, priority {entry.priority}: both {other.owner!r} and "
                    f"{entry.owner!r} support opset {opset_range(entry)}; "
                    "give one of them another priority"
                )
        result[key] = tuple(sorted((*others, entry), key=lambda one: -one.priority))
    return result


def with_kernels(table: Mapping[str, Kernel], kernels: Sequence[Kernel]) -> dict[str, Kernel]:
    """A table with more kernels; PluginError where two of equal priority have one opcode."""
    result = dict(table)
    for kernel in kernels:
        other = result.get(kernel.opcode)
        if other is not None and other.priority == kernel.priority:
            raise PluginError(
                f"kernel {kernel.opcode}, priority {kernel.priority}: both {other.owner!r} and "
                f"{kernel.owner!r} have it; give one of them another priority"
            )
        if other is None or kernel.priority > other.priority:
            result[kernel.opcode] = kernel
    return result


def opset_range(entry: PerOperator) -> str:
    """The opsets that an entry covers, for people."""
    if entry.until is None:
        return f"{entry.since} and later"
    return str(entry.since) if entry.since == entry.until else f"{entry.since} to {entry.until}"


def operator_name(domain: str, op_type: str) -> str:
    """An operator as users write it: `Conv`, `com.microsoft:QGemm`."""
    return f"{domain}:{op_type}" if domain else op_type


def covers(entry: PerOperator, opset: int) -> bool:
    """Whether an entry is for an opset."""
    return entry.since <= opset and (entry.until is None or opset <= entry.until)


def place(unit: NodeUnit) -> Place:
    """A unit's operator and, of what a pattern has fused, the pattern and its values."""
    values = (unit.match.inputs, unit.match.output) if unit.match else ()
    return unit.key, unit.pattern, *values


def _pattern(entry: PerOperator) -> Pattern | None:
    return entry.pattern if isinstance(entry, OperatorSupport) else None


def _overlap(one: PerOperator, other: PerOperator) -> bool:
    first, second = sorted((one, other), key=lambda entry: entry.since)
    return first.until is None or second.since <= first.until

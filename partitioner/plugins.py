"""The plugin manager: which operators the NPU takes, by the built-in operators and by plugins.

Every plugin, the built-in operators among them, is loaded and called in its own try. One that fails
is left out as a whole and reported once by name; the others go on.
"""

import dataclasses
import functools
import logging
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.hookspecs import PROJECT, Hooks
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit, OperatorSupport

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN = "furiosa_ep"
"""The owner of the built-in operators."""

_log = logging.getLogger(__name__)


class PluginError(Exception):
    """What a plugin provides cannot be used; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Registry:
    """Operator support by domain and type. Immutable."""

    operators: Mapping[tuple[str, str], tuple[OperatorSupport, ...]]
    """Highest priority first."""

    def support(self, unit: NodeUnit, graph: Graph) -> OperatorSupport | Decline:
        """The entry that takes and lowers the unit, or why there is none."""
        entry = self.entry(unit)
        if isinstance(entry, Decline):
            return entry
        return _first_decline(entry, unit, graph) or entry

    def entry(self, unit: NodeUnit) -> OperatorSupport | Decline:
        """The entry for the unit's operator and opset, whatever its constraints say."""
        entries = self.operators.get(unit.key, ())
        if not entries:
            name = operator_name(*unit.key)
            return Decline(
                DeclineCode.NOT_REGISTERED,
                f"No plugin supports {name}.",
                "Replace the operator, or teach the NPU in a plugin (docs/plugins.md).",
            )
        # An elementwise chain is of no opset: what evaluates it knows its operators.
        fitting = [one for one in entries if unit.chain or _covers(one, unit.node.opset)]
        if not fitting:
            ranges = ", ".join(sorted({opset_range(one) for one in entries}))
            return Decline(
                DeclineCode.OPSET,
                f"{operator_name(*unit.key)} is supported for opset {ranges}. "
                f"Found: opset {unit.node.opset}.",
                "Convert the model with onnx.version_converter.",
            )
        return fitting[0]


@functools.cache
def registry() -> Registry:
    """The built-in operators and those of all installed plugins; built once."""
    plugins: dict[str, Any] = {}
    for entry_point in _entry_points():
        try:
            plugins[entry_point.name] = entry_point.load()
        except Exception as error:
            _leave_out(entry_point.name, error)
    return build_registry(plugins)


def _entry_points() -> "list[EntryPoint]":
    """The entry points of all installed plugins, by name.

    Mostly there are none, and to import importlib.metadata takes longer than to look.
    """
    if "importlib.metadata" not in sys.modules and not any(map(_may_have_plugins, sys.path)):
        return []
    import importlib.metadata

    return sorted(importlib.metadata.entry_points(group=PROJECT), key=lambda one: one.name)


def _may_have_plugins(place: str) -> bool:
    """Whether a distribution in one place of sys.path may have entry points for plugins."""
    folder = Path(place or ".")
    if folder.is_file():
        return True  # An archive.
    section = f"[{PROJECT}]".encode()
    return any(section in file.read_bytes() for file in folder.glob("*-info/entry_points.txt"))


def build_registry(plugins: Mapping[str, Any]) -> Registry:
    """The built-in operators and those of `plugins` (objects with hooks, by name)."""
    from furiosa_ep.partitioner import operators  # They import this package.

    table: dict[tuple[str, str], tuple[OperatorSupport, ...]] = {}
    for name, plugin in {BUILT_IN: operators, **plugins}.items():
        try:
            table = _with(table, _operators_of(name, plugin))
        except Exception as error:
            _leave_out(name, error)
    return Registry(types.MappingProxyType(table))


def opset_range(entry: OperatorSupport) -> str:
    """The opsets that an entry covers, for people."""
    if entry.until is None:
        return f"{entry.since} and later"
    return str(entry.since) if entry.since == entry.until else f"{entry.since} to {entry.until}"


def operator_name(domain: str, op_type: str) -> str:
    """An operator as users write it: `Conv`, `com.microsoft:QGemm`."""
    return f"{domain}:{op_type}" if domain else op_type


def _operators_of(name: str, plugin: Any) -> list[OperatorSupport]:
    """What one plugin provides, marked as its own."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    manager.register(plugin, name)
    manager.check_pending()
    found: list[OperatorSupport] = []
    for entries in manager.hook.furiosa_operators():
        for entry in entries:
            if not isinstance(entry, OperatorSupport):
                raise PluginError(
                    f"furiosa_operators: expected OperatorSupport, found {type(entry).__name__}"
                )
            found.append(dataclasses.replace(entry, owner=name))
    return found


def _with(
    table: Mapping[tuple[str, str], tuple[OperatorSupport, ...]], entries: Iterable[OperatorSupport]
) -> dict[tuple[str, str], tuple[OperatorSupport, ...]]:
    """A table with more entries; PluginError where two of equal priority cover the same opset."""
    result = dict(table)
    for entry in entries:
        key = (entry.domain, entry.op_type)
        others = result.get(key, ())
        for other in others:
            if other.priority == entry.priority and _overlap(other, entry):
                raise PluginError(
                    f"{operator_name(*key)}, priority {entry.priority}: both {other.owner!r} and "
                    f"{entry.owner!r} support opset {opset_range(entry)}; "
                    "give one of them another priority"
                )
        result[key] = tuple(sorted((*others, entry), key=lambda one: -one.priority))
    return result


def _first_decline(entry: OperatorSupport, unit: NodeUnit, graph: Graph) -> Decline | None:
    for check in entry.constraints:
        try:
            decline = check(unit, graph)
        except Exception as error:
            name = getattr(check, "__name__", repr(check))
            return Decline(
                DeclineCode.PLUGIN_ERROR,
                f"Plugin {entry.owner!r}: constraint {name} failed: "
                f"{type(error).__name__}: {error}",
                f"Report it to the authors of {entry.owner!r}.",
            )
        if decline is not None:
            return decline
    return None


def _leave_out(name: str, error: Exception) -> None:
    _log.warning("plugin %r is left out: %s: %s", name, type(error).__name__, error)


def _covers(entry: OperatorSupport, opset: int) -> bool:
    return entry.since <= opset and (entry.until is None or opset <= entry.until)


def _overlap(one: OperatorSupport, other: OperatorSupport) -> bool:
    first, second = sorted((one, other), key=lambda entry: entry.since)
    return first.until is None or second.since <= first.until

"""What plugins give, as data and as text."""

import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from furiosa_ep.partitioner.descriptors import API_VERSION
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.plugins import Plugin

Data = dict[str, Any]

WIDTH = 100
_HEADING = 15

_OPERATOR = ("domain", "op_type", "since", "until", "priority", "kernels")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "furiosa_schemas": ("domain", "op_type", "since", "operands", "attributes"),
    "furiosa_operators": _OPERATOR,
    "furiosa_lowerings": _OPERATOR,
    "furiosa_kernels": ("opcode", "operands", "attributes", "strided", "priority"),
    "furiosa_passes": ("name", "stage", "before", "after"),
    "furiosa_targets": (
        *("name", "pes", "clock_hz", "macs_per_cycle"),
        *("sram_bytes", "dram_bytes_per_second"),
    ),
    "furiosa_cost_models": ("name", "priority"),
    "furiosa_selections": ("name",),
    "furiosa_calibrators": ("name",),
    "furiosa_commands": ("name", "help"),
}
"""What is told of the descriptors of each hook."""


def as_json(plugins: Iterable[Plugin]) -> str:
    """All plugins as the JSON object that docs/cli.md describes."""
    found = {"api_version": API_VERSION, "plugins": [plugin_data(one) for one in plugins]}
    return json.dumps(found, indent=2)


def plugin_data(plugin: Plugin) -> Data:
    """One plugin; what it has not said of itself is None."""
    info = plugin.info
    return {
        "name": plugin.name,
        "version": info.version if info else None,
        "api_version": info.api_version if info else None,
        "distribution": plugin.source.distribution or None,
        "module": plugin.source.value,
        "targets": list(info.targets) if info else [],
        "problem": plugin.problem or None,
        "hooks": {
            hook: [descriptor_data(hook, one) for one in plugin.given.get(hook, ())]
            for hook in FIELDS
        },
        "notifications": list(plugin.notifications),
    }


def descriptor_data(hook: str, descriptor: Any) -> Data:
    """One descriptor."""
    data: Data = {name: getattr(descriptor, name) for name in FIELDS[hook]}
    if hook == "furiosa_operators":
        data["pattern"] = descriptor.pattern is not None
    if hook == "furiosa_schemas":
        data["on_cpu"] = descriptor.compute is not None
    if hook == "furiosa_kernels":
        data["native"] = [
            {
                "isa": native.isa,
                "library": str(native.library) or None,
                "symbol": native.symbol or None,
                "address": bool(native.address),
            }
            for native in descriptor.native
        ]
        data["takes_gil"] = not descriptor.native
    return data


def as_text(plugins: Iterable[Plugin]) -> str:
    """All plugins for people: each with a paragraph."""
    return "\n\n".join("\n".join(_paragraph(plugin_data(one))) for one in plugins)


def counts(plugin: Plugin) -> str:
    """What a plugin gives in one line, like `2 operators, 1 pass`."""
    found = {heading(hook): len(given) for hook, given in plugin.given.items() if given}
    return ", ".join(
        f"{count} {heading if count > 1 else _singular(heading)}"
        for heading, count in found.items()
    )


def heading(hook: str) -> str:
    """What people call the descriptors of a hook, like `cost models`."""
    return hook.removeprefix("furiosa_").replace("_", " ")


def _singular(plural: str) -> str:
    return plural.removesuffix("es") if plural.endswith("sses") else plural.removesuffix("s")


def _paragraph(plugin: Data) -> Iterator[str]:
    api = plugin["api_version"]
    facts = [
        f"plugin API {api}" if api else "",
        "built in" if plugin["name"] == BUILT_IN else plugin["distribution"] or plugin["module"],
        f"for {', '.join(plugin['targets'])}" if plugin["targets"] else "",
    ]
    yield f"{plugin['name']} {plugin['version'] or '?'} ({', '.join(filter(None, facts))})"
    if plugin["problem"]:
        yield from _wrapped("PROBLEM", plugin["problem"])
    for hook, descriptors in plugin["hooks"].items():
        if descriptors:
            items = sorted(_TEXTS.get(hook, _name)(one).replace(" ", "\0") for one in descriptors)
            yield from _wrapped(heading(hook), ", ".join(items))
    if plugin["notifications"]:
        yield from _wrapped("notifications", ", ".join(plugin["notifications"]))


def _wrapped(title: str, text: str) -> Iterator[str]:
    """Lines under a title; a NUL is a space that ends no line."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {title:{_HEADING}}",
        subsequent_indent=" " * (2 + _HEADING),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return (line.replace("\0", " ") for line in lines)


def _schema(data: Data) -> str:
    name = f"{data['domain']}:{data['op_type']} {data['since']}+"
    return name + _details("" if data["on_cpu"] else "NPU only")


def _operator(data: Data) -> str:
    name = f"{data['domain']}:{data['op_type']}" if data["domain"] else data["op_type"]
    since, until = data["since"], data["until"]
    opsets = f"{since}+" if until is None else f"{since}-{until}"
    kernels = " ".join(data["kernels"])
    return f"{name} {since if since == until else opsets}" + _details(
        "pattern" if data.get("pattern") else "",
        _priority(data),
        f"kernels {kernels}" if kernels else "",
    )


def _kernel(data: Data) -> str:
    functions = [
        f"{native['isa']} at an address"
        if native["address"]
        else f"{native['isa']} in {Path(native['library']).name}"
        for native in data["native"]
    ]
    return str(data["opcode"]) + _details(*(functions or ["NumPy: takes the GIL"]), _priority(data))


def _pass(data: Data) -> str:
    return f"{data['name']} ({data['stage']})"


def _name(data: Data) -> str:
    return str(data["name"]) + _details(_priority(data))


def _priority(data: Data) -> str:
    return f"priority {data['priority']}" if data.get("priority") else ""


def _details(*details: str) -> str:
    found = "; ".join(filter(None, details))
    return f" ({found})" if found else ""


_TEXTS: Mapping[str, Callable[[Data], str]] = {
    "furiosa_schemas": _schema,
    "furiosa_operators": _operator,
    "furiosa_lowerings": _operator,
    "furiosa_kernels": _kernel,
    "furiosa_passes": _pass,
}

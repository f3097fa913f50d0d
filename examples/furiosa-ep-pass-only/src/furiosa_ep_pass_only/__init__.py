"""Two Transpose operations in a row become one, or none where the second undoes the first."""

from collections.abc import Iterable

from furiosa_ep.plugin import DeviceGraph, DeviceValue, GraphPass, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("pass-only", "0.1.0", api_version=1)


@hookimpl
def furiosa_passes() -> Iterable[GraphPass]:
    """The pass. Operations that nothing reads behind it, furiosa-ep removes."""
    return [GraphPass("join-transposes", join_transposes)]


def join_transposes(graph: DeviceGraph) -> None:
    """Let each Transpose read what the one before it reads; leave out those that do nothing.

    The graph's outputs stay what they are.
    """
    producers = graph.producers()
    same: dict[DeviceValue, DeviceValue] = {}
    for operation in graph.operations:
        operation.inputs = [None if one is None else same.get(one, one) for one in operation.inputs]
        source = operation.inputs[0] if operation.kind == "Transpose" else None
        before = producers.get(source) if source is not None else None
        if before is None or before.kind != "Transpose":
            continue
        perm = tuple(before.attributes["perm"][axis] for axis in operation.attributes["perm"])
        (first,) = before.inputs
        if first is not None and perm == tuple(range(len(perm))):
            same[operation.output] = first
        operation.inputs, operation.attributes["perm"] = [first], perm

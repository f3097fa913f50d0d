"""A plugin with a pass that gives values a type that their operations do not have."""

from furiosa_ep.plugin import DeviceGraph, DType, GraphPass, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-pass-types", "0.1.0", api_version=1)


@hookimpl
def furiosa_passes() -> list[GraphPass]:
    """The pass."""
    return [GraphPass("broken-pass-types", change_types)]


def change_types(graph: DeviceGraph) -> None:
    """The pass."""
    for operation in graph.operations:
        operation.output.dtype = DType.I64

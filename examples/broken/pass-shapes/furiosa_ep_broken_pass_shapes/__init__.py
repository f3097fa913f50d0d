"""A plugin with a pass that gives values a shape that their operations do not have."""

from furiosa_ep.plugin import DeviceGraph, GraphPass, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-pass-shapes", "0.1.0", api_version=1)


@hookimpl
def furiosa_passes() -> list[GraphPass]:
    """The pass."""
    return [GraphPass("broken-pass-shapes", change_shapes)]


def change_shapes(graph: DeviceGraph) -> None:
    """The pass."""
    for operation in graph.operations:
        operation.output.shape = (*operation.output.shape, 2)

"""A plugin with a pass that lets two operations compute one value."""

from furiosa_ep.plugin import DeviceGraph, GraphPass, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-pass-assignment", "0.1.0", api_version=1)


@hookimpl
def furiosa_passes() -> list[GraphPass]:
    """The pass."""
    return [GraphPass("broken-pass-assignment", compute_twice)]


def compute_twice(graph: DeviceGraph) -> None:
    """The pass."""
    graph.operations += graph.operations[-1:]

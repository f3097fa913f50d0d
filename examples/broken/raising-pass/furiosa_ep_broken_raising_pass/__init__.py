"""A plugin with a pass that raises."""

from furiosa_ep.plugin import DeviceGraph, GraphPass, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-raising-pass", "0.1.0", api_version=1)


@hookimpl
def furiosa_passes() -> list[GraphPass]:
    """The pass."""
    return [GraphPass("broken-raising-pass", fail)]


def fail(graph: DeviceGraph) -> None:
    """The pass."""
    raise RuntimeError("no rewrites today")

"""A plugin that gives something else than descriptors."""

from furiosa_ep.plugin import PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-descriptor", "0.1.0", api_version=1)


@hookimpl
def furiosa_operators() -> list[str]:
    """The operators."""
    return ["Conv"]

"""A plugin with a hook that does not exist."""

from furiosa_ep.plugin import PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-hook", "0.1.0", api_version=1)


@hookimpl
def furiosa_kernelz() -> list[object]:
    """A hook that is misspelt."""
    return []

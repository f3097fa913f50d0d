"""A plugin with a hook that raises."""

from furiosa_ep.plugin import OperatorSupport, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-raising-hook", "0.1.0", api_version=1)


@hookimpl
def furiosa_operators() -> list[OperatorSupport]:
    """The operators."""
    raise RuntimeError("no operators today")

"""A plugin that takes an operator with the priority of the built-in plugin."""

from furiosa_ep.plugin import UNARY, OperatorSupport, PluginInfo, hookimpl, kernel_lowering


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-priority", "0.1.0", api_version=1)


@hookimpl
def furiosa_operators() -> list[OperatorSupport]:
    """Conv, which furiosa-ep takes itself."""
    return [OperatorSupport("Conv", kernel_lowering("NONE"), UNARY)]

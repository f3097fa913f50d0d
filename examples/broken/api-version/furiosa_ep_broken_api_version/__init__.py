"""A plugin for another version of the plugin API."""

from furiosa_ep.plugin import PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-api-version", "0.1.0", api_version=99)

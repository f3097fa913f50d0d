"""A plugin that fails when it is told of something."""

from furiosa_ep.plugin import PluginInfo, Program, Report, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-notification", "0.1.0", api_version=1)


@hookimpl
def furiosa_partitioned(report: Report) -> None:
    """A report of a partition."""
    raise RuntimeError("not interested in reports")


@hookimpl
def furiosa_compiled(program: Program) -> None:
    """A compiled Program."""
    raise RuntimeError("not interested in Programs")

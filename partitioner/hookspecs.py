"""The hooks through which plugins, the built-in operators among them, teach the NPU."""

from collections.abc import Iterable

import pluggy

from furiosa_ep.partitioner.support import OperatorSupport

PROJECT = "furiosa_ep"
"""The pluggy project name and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Every hook is called once, when the plugins are loaded, and returns frozen descriptors."""

    @hookspec
    def furiosa_operators(self) -> Iterable[OperatorSupport]:  # type: ignore[empty-body]
        """The operators that the plugin claims and lowers."""

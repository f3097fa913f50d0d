"""A plugin whose native kernel is a symbol that its library does not have."""

import furiosa_ep
from furiosa_ep.plugin import Kernel, KernelFrame, NativeKernel, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-symbol", "0.1.0", api_version=1)


@hookimpl
def furiosa_kernels() -> list[Kernel]:
    """The kernel; the library is any that exists."""
    native = NativeKernel(furiosa_ep.get_library_path(), "no_such_symbol")
    return [Kernel("BROKEN_SYMBOL_COPY", "x:u8 -> y:u8", copy, native=(native,))]


def copy(frame: KernelFrame) -> None:
    """The kernel's reference."""
    frame.output.array[...] = 0

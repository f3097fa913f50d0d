"""A plugin whose native kernel is in a library that is missing."""

from furiosa_ep.plugin import Kernel, KernelFrame, NativeKernel, PluginInfo, hookimpl


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-library", "0.1.0", api_version=1)


@hookimpl
def furiosa_kernels() -> list[Kernel]:
    """The kernel."""
    native = NativeKernel("no_such_library.so", "copy")
    return [Kernel("BROKEN_LIBRARY_COPY", "x:u8 -> y:u8", copy, native=(native,))]


def copy(frame: KernelFrame) -> None:
    """The kernel's reference."""
    frame.output.array[...] = 0

"""A plugin with a kernel that fails when it runs."""

from furiosa_ep.plugin import (
    UNARY,
    Kernel,
    KernelFrame,
    OperatorSupport,
    PluginInfo,
    Schema,
    hookimpl,
    kernel_lowering,
)

OPCODE = "BROKEN_KERNEL_SAME"


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("broken-kernel", "0.1.0", api_version=1)


@hookimpl
def furiosa_schemas() -> list[Schema]:
    """The operator: on the CPU it gives its input."""
    return [
        Schema("Same", "broken_kernel", "x:float -> y:float", compute=lambda inputs, _: inputs[0])
    ]


@hookimpl
def furiosa_operators() -> list[OperatorSupport]:
    """The operator."""
    lower = kernel_lowering(OPCODE)
    return [OperatorSupport("Same", lower, UNARY, "broken_kernel", kernels=(OPCODE,))]


@hookimpl
def furiosa_kernels() -> list[Kernel]:
    """The kernel, which runs where a session allows kernels in Python."""
    return [Kernel(OPCODE, "x:u8 -> y:u8", fail)]


def fail(frame: KernelFrame) -> None:
    """The kernel."""
    raise RuntimeError("no results today")

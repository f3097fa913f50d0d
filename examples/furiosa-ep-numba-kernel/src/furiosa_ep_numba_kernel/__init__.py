"""The NPU takes numba_kernel:PeakNormalize: rows, scaled so that their largest value is `peak`."""

from collections.abc import Iterable, Mapping

from furiosa_ep.plugin import (
    UNARY,
    Kernel,
    NodeUnit,
    OperatorSupport,
    PluginInfo,
    Schema,
    hookimpl,
    kernel_lowering,
    rank,
)

from furiosa_ep_numba_kernel.kernel import KERNEL
from furiosa_ep_numba_kernel.peak_normalize import compute

DOMAIN, OP_TYPE = "numba_kernel", "PeakNormalize"


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """What this plugin is."""
    return PluginInfo("numba-kernel", "0.1.0", api_version=1)


@hookimpl
def furiosa_schemas() -> Iterable[Schema]:
    """The operator, so that ONNX Runtime loads models with it and computes it on the CPU."""
    return [Schema(OP_TYPE, DOMAIN, "x:float -> y:float", "peak:float?", compute=compute)]


@hookimpl
def furiosa_operators() -> Iterable[OperatorSupport]:
    """When the NPU takes the operator, and that a kernel computes it."""
    lower = kernel_lowering(KERNEL.opcode, attributes)
    constraints = (*UNARY, rank(0, 1, 8))
    return [OperatorSupport(OP_TYPE, lower, constraints, DOMAIN, kernels=(KERNEL.opcode,))]


@hookimpl
def furiosa_kernels() -> Iterable[Kernel]:
    """The kernel."""
    return [KERNEL]


def attributes(unit: NodeUnit) -> Mapping[str, float]:
    """The kernel's attributes for a node."""
    return {"peak": unit.node.attributes.get("peak", 1.0)}

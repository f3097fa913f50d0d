"""What a plugin is written with: hooks, descriptors, and what lowerings and kernels need.

    from furiosa_ep.plugin import OperatorSupport, PluginInfo, hookimpl, kernel_lowering

Everything here keeps its meaning within one API_VERSION (docs/plugins/versioning.md); no other
module of furiosa_ep promises that to plugins.
"""

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.files import file_in_package
from furiosa_ep.graph import (
    DeviceGraph,
    DeviceValue,
    Graph,
    Node,
    Operation,
    QuantParams,
    Table,
)
from furiosa_ep.kernels.cases import random_tensor
from furiosa_ep.kernels.kernel import (
    Kernel,
    KernelCase,
    KernelCost,
    KernelFrame,
    KernelTensor,
    NativeKernel,
)
from furiosa_ep.partitioner.descriptors import (
    API_VERSION,
    Calibrator,
    Candidate,
    CliCommand,
    CommandError,
    CostModel,
    GraphPass,
    Lowering,
    PartitionSelection,
    PluginInfo,
    RangeCollector,
    SampleCollector,
    Stage,
)
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.operators.calling import kernel_lowering
from furiosa_ep.partitioner.operators.numerics import dequantize, quantize
from furiosa_ep.partitioner.operators.rules import (
    UNARY,
    attribute,
    constant,
    quantized_inputs,
    quantized_output,
    rank,
    representable,
    same_dtype,
    usable_scales,
)
from furiosa_ep.partitioner.patterns import Pattern, PatternMatch, PatternNode
from furiosa_ep.partitioner.registry import PluginError
from furiosa_ep.partitioner.report import Report
from furiosa_ep.partitioner.schema import Schema
from furiosa_ep.partitioner.support import (
    Builder,
    Constraint,
    Decline,
    DeclineCode,
    NodeUnit,
    Operand,
    OperatorSupport,
    constraint,
)
from furiosa_ep.program import DType, Program

__all__ = [
    "API_VERSION",
    "UNARY",
    "Builder",
    "Calibrator",
    "Candidate",
    "CliCommand",
    "CommandError",
    "Constraint",
    "CostModel",
    "DType",
    "Decline",
    "DeclineCode",
    "DeviceGraph",
    "DeviceValue",
    "Graph",
    "GraphPass",
    "Kernel",
    "KernelCase",
    "KernelCost",
    "KernelFrame",
    "KernelTensor",
    "Lowering",
    "NativeKernel",
    "Node",
    "NodeUnit",
    "Operand",
    "Operation",
    "OperatorSupport",
    "PartitionSelection",
    "Pattern",
    "PatternMatch",
    "PatternNode",
    "PluginError",
    "PluginInfo",
    "Program",
    "QuantParams",
    "RangeCollector",
    "Report",
    "SampleCollector",
    "Schema",
    "Stage",
    "Table",
    "Target",
    "attribute",
    "constant",
    "constraint",
    "dequantize",
    "file_in_package",
    "hookimpl",
    "kernel_lowering",
    "quantize",
    "quantized_inputs",
    "quantized_output",
    "random_tensor",
    "rank",
    "representable",
    "same_dtype",
    "usable_scales",
]

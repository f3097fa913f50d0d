"""Functions of one 8-bit value: whatever they compute, a table of 256 bytes holds them."""

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.operators.emitting import lookup
from furiosa_ep.partitioner.operators.rules import (
    INFER_SHAPES,
    UNARY,
    describe,
    float_between,
    inference,
    is_constant,
    one_output,
    operand,
    quantized_inputs,
    quantized_output,
    representable,
    usable_scales,
)
from furiosa_ep.partitioner.support import (
    Builder,
    Constraint,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)


@constraint(DeclineCode.WEIGHTS_NOT_CONSTANT, "Make the parameters initializers.")
def constant_parameters(unit: NodeUnit, graph: Graph) -> str | None:
    """All inputs but the first must be constants of one element."""
    for one in unit.inputs[1:]:
        shape = graph.shape(one.name) if is_constant(one, graph) else None
        if one.name and (shape is None or any(dim != 1 for dim in shape)):
            return describe(one, graph)
    return None


def lower_table(unit: NodeUnit, builder: Builder) -> None:
    """One Lookup of the value that is no constant."""
    x = variable(unit, builder.graph)
    y = lookup(builder.value(unit.inputs[x]), builder.table(unit), is_signed(unit), builder)
    builder.set(unit.outputs[0], y)


def is_signed(unit: NodeUnit) -> bool:
    """Whether the first output is int8."""
    params = unit.outputs[0].params
    return params is not None and params.signed


def variable(unit: NodeUnit, graph: Graph) -> int:
    """The position of the first input that is no constant."""
    return next(i for i, one in enumerate(unit.inputs) if one.name and not is_constant(one, graph))


@constraint(DeclineCode.SHAPE, "Use a slope for each channel, or one for all.")
def slope_per_channel(unit: NodeUnit, graph: Graph) -> str | None:
    """The slope must be a constant with one element, or one for each channel (axis 1)."""
    slope = operand(unit, 1)
    shape = graph.shape(slope.name) if is_constant(slope, graph) else None
    if shape is None:
        return describe(slope, graph)
    if all(dim == 1 for dim in shape):
        return None
    rank = len(graph.shape(unit.inputs[0].name) or ())
    # Aligned at the last axis, only the dim that meets axis 1 may differ from 1.
    channel = 1 - rank + len(shape)
    if rank < 2 or channel < 0 or any(d != 1 for i, d in enumerate(shape) if i != channel):
        return describe(slope, graph)
    return None


def lower_prelu(unit: NodeUnit, builder: Builder) -> None:
    """One Lookup, with a table for each channel where the slopes differ."""
    x = builder.value(unit.inputs[0])
    slope = builder.graph.constant(unit.inputs[1].name)
    per_channel = slope is not None and slope.size != 1
    table = builder.table(unit, 1 if per_channel else None)
    builder.set(unit.outputs[0], lookup(x, table, is_signed(unit), builder))


@constraint(DeclineCode.WEIGHTS_NOT_CONSTANT, "Make scale, bias, mean and variance initializers.")
def constant_statistics(unit: NodeUnit, graph: Graph) -> str | None:
    """Scale, bias, mean and variance must be constants."""
    for one in unit.inputs[1:5]:
        if not is_constant(one, graph):
            return describe(one, graph)
    return None


@constraint(DeclineCode.ATTRIBUTE, "Export the model with opset 9 or later.")
def spatial(unit: NodeUnit, graph: Graph) -> str | None:
    """BatchNormalization must have one mean and variance for each channel."""
    return None if unit.node.attributes.get("spatial", 1) else "spatial=0"


@constraint(DeclineCode.RANK, INFER_SHAPES)
def has_channels(unit: NodeUnit, graph: Graph) -> str | None:
    """The input must have a channel axis: a rank of 2 or more."""
    shape = graph.shape(unit.inputs[0].name)
    return describe(unit.inputs[0], graph) if shape is None or len(shape) < 2 else None


def lower_batch_normalization(unit: NodeUnit, builder: Builder) -> None:
    """One Lookup with a table for each channel."""
    x = builder.value(unit.inputs[0])
    builder.set(unit.outputs[0], lookup(x, builder.table(unit, 1), is_signed(unit), builder))


_TABLE: tuple[Constraint, ...] = (*UNARY, float_between, constant_parameters)

FUNCTIONS = {
    "": [
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Pow",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
    ],
    "com.microsoft": ["Gelu", "QuickGelu", "FastGelu"],
}
"""Elementwise operators of one activation, by domain."""

SUPPORT = (
    *(
        OperatorSupport(op_type, lower_table, _TABLE, domain, since=6 if not domain else 1)
        for domain, op_types in FUNCTIONS.items()
        for op_type in op_types
    ),
    OperatorSupport("PRelu", lower_prelu, (*UNARY, float_between, slope_per_channel), since=7),
    OperatorSupport(
        "BatchNormalization",
        lower_batch_normalization,
        (
            quantized_inputs(0),
            quantized_output,
            usable_scales,
            constant_statistics,
            inference,
            spatial,
            has_channels,
            one_output,
            representable,
        ),
        since=7,
    ),
)

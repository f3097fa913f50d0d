"""Along axes: the Reduce operators, LpNormalization and Softmax."""

import math

import numpy as np

from furiosa_ep.graph import DeviceValue, Graph, QuantParams, Table
from furiosa_ep.partitioner.operators.emitting import (
    finish,
    integers,
    lookup,
    params_of,
    reshape,
)
from furiosa_ep.partitioner.operators.layout import between_convolutions
from furiosa_ep.partitioner.operators.onnxruntime_version import older_than
from furiosa_ep.partitioner.operators.rules import (
    HAS_AXES,
    MOVEMENT,
    UNARY,
    describe,
    float_between,
    known,
    operand,
    present,
    quantization,
    quantized_inputs,
    representable,
    same_dtype,
    usable_scales,
)
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)
from furiosa_ep.program.program import DType

REDUCTIONS = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceL2": "l2"}


def reduced_axes(unit: NodeUnit, builder: Builder, rank: int) -> tuple[int, ...]:
    """The axes that go, in order; all of them by default."""
    axes = integers(unit, builder, "axes", 1)
    if not axes:
        return () if unit.node.attributes.get("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(axis % rank for axis in axes))


def kept_shape(x: DeviceValue, axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape without the reduced axes, or with 1 in their place."""
    if keepdims:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(x.shape))
    return tuple(dim for axis, dim in enumerate(x.shape) if axis not in axes)


def lower_reduce(unit: NodeUnit, builder: Builder) -> None:
    """One Reduce in float32, quantized or not."""
    x = builder.value(unit.inputs[0])
    axes = reduced_axes(unit, builder, len(x.shape))
    keepdims = bool(unit.node.attributes.get("keepdims", 1))
    (y,) = unit.outputs
    value = builder.emit(
        "Reduce",
        [x],
        kept_shape(x, axes, keepdims),
        DType.F32 if y.params is None else DType.U8,
        signed=y.params is not None and y.params.signed,
        reduction=REDUCTIONS[unit.node.op_type],
        axes=axes,
        keepdims=keepdims,
        channels_last=keepdims
        and len(x.shape) == 4
        and between_convolutions(unit.node, builder.graph),
        x_params=params_of(unit.inputs[0], builder),
        y_params=y.params,
    )
    builder.set(y, value)


def lower_extremum(unit: NodeUnit, builder: Builder) -> None:
    """ReduceMax on bytes; ReduceMin as that of the bytes' complements."""
    x = builder.value(unit.inputs[0])
    signed = x.signed
    axes = reduced_axes(unit, builder, len(x.shape))
    keepdims = bool(unit.node.attributes.get("keepdims", 1))
    minimum = unit.node.op_type == "ReduceMin"
    if minimum:
        x = lookup(x, _complement(), signed, builder)
    identity = QuantParams(np.float32(1), -128 if signed else 0, signed)
    y = builder.emit(
        "Reduce",
        [x],
        kept_shape(x, axes, keepdims),
        signed=signed,
        reduction="max",
        axes=axes,
        keepdims=keepdims,
        x_params=identity,
        y_params=identity,
    )
    if minimum:
        y = lookup(y, _complement(), signed, builder)
    finish(unit, builder, y, quantization(unit.inputs[0], builder.graph))


def _complement() -> Table:
    return Table(lambda: np.arange(255, -1, -1, dtype=np.uint8))


@constraint(DeclineCode.ATTRIBUTE, "Remove the operator: it changes nothing.")
def reduces_something(unit: NodeUnit, graph: Graph) -> str | None:
    """There must be an axis to reduce."""
    if not unit.node.attributes.get("noop_with_empty_axes", 0):
        return None
    axes = graph.constant(operand(unit, 1).name) if present(unit, 1) else None
    return "noop_with_empty_axes=1 without axes" if axes is None or axes.size == 0 else None


def lower_lp_normalization(unit: NodeUnit, builder: Builder) -> None:
    """One LpNormalization."""
    x = builder.value(unit.inputs[0])
    (y,) = unit.outputs
    value = builder.emit(
        "LpNormalization",
        [x],
        x.shape,
        DType.F32 if y.params is None else DType.U8,
        signed=y.params is not None and y.params.signed,
        axis=unit.node.attributes.get("axis", -1) % len(x.shape),
        p=unit.node.attributes.get("p", 2),
        x_params=params_of(unit.inputs[0], builder),
        y_params=y.params,
    )
    builder.set(y, value)


def lower_softmax(unit: NodeUnit, builder: Builder) -> None:
    """One Softmax; before opset 13 over all axes from `axis` on."""
    params = (params_of(unit.inputs[0], builder), params_of(unit.outputs[0], builder))
    x = builder.value(unit.inputs[0])
    flattens = unit.node.opset < 13
    axis = unit.node.attributes.get("axis", 1 if flattens else -1)
    builder.set(unit.outputs[0], emit_softmax(x, axis, flattens, params, builder))


def emit_softmax(
    x: DeviceValue,
    axis: int,
    flattens: bool,
    params: tuple[QuantParams, QuantParams],
    builder: Builder,
) -> DeviceValue:
    """QLinearSoftmax along `axis`, or over it and all axes behind it."""
    x_params, y_params = params
    shape = x.shape
    axis += len(shape) if axis < 0 else 0
    if flattens:
        x = reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])), builder)
        axis = 1
    y = builder.emit(
        "Softmax",
        [x],
        x.shape,
        signed=y_params.signed,
        axis=axis,
        x_params=x_params,
        y_params=y_params,
        precision=32 if older_than(1, 32) else 64,
    )
    return reshape(y, shape, builder)


@constraint(DeclineCode.ATTRIBUTE, "Compute the norm with Abs, Pow and ReduceSum.")
def p_is_1_or_2(unit: NodeUnit, graph: Graph) -> str | None:
    """Attribute p must be 1 or 2."""
    p = unit.node.attributes.get("p", 2)
    return None if p in (1, 2) else f"p={p}, input {describe(unit.inputs[0], graph)}"


_FLOAT = (quantized_inputs(0), float_between, usable_scales, representable, HAS_AXES)
_AXES = (known(1, "axes"), reduces_something)

SOFTMAX = (*UNARY, HAS_AXES, same_dtype(0))

SUPPORT = (
    *(OperatorSupport(one, lower_reduce, (*_FLOAT, *_AXES)) for one in REDUCTIONS),
    *(
        OperatorSupport(one, lower_extremum, (*MOVEMENT, HAS_AXES, *_AXES))
        for one in ("ReduceMax", "ReduceMin")
    ),
    OperatorSupport("LpNormalization", lower_lp_normalization, (*_FLOAT, p_is_1_or_2)),
    OperatorSupport("Softmax", lower_softmax, SOFTMAX),
)

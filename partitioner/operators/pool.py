"""Pools: MaxPool, AveragePool, GlobalMaxPool and GlobalAveragePool."""

import math

from furiosa_ep.graph import DeviceValue, Graph, QuantParams
from furiosa_ep.partitioner.operators.emitting import finish, params_of, reshape
from furiosa_ep.partitioner.operators.rules import (
    MOVEMENT,
    UNARY,
    quantization,
    rank,
    same_dtype,
)
from furiosa_ep.partitioner.operators.windows import (
    image,
    known_auto_pad,
    no_negative_pads,
    unimage,
    window,
)
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)


@constraint(DeclineCode.ATTRIBUTE, "Use dilations of 1.")
def not_dilated(unit: NodeUnit, graph: Graph) -> str | None:
    """AveragePool must not be dilated."""
    dilations = unit.node.attributes.get("dilations") or []
    return f"dilations={list(dilations)}" if any(one != 1 for one in dilations) else None


@constraint(DeclineCode.ATTRIBUTE, "Pad less than the window is wide, or do without dilations.")
def windows_reach_inside(unit: NodeUnit, graph: Graph) -> str | None:
    """With dilations, there must be no pads: every window must reach an element of the image."""
    attributes = unit.node.attributes
    dilated = any(one != 1 for one in attributes.get("dilations") or [])
    padded = any(attributes.get("pads") or []) or "SAME" in attributes.get("auto_pad", "")
    if dilated and (padded or attributes.get("ceil_mode", 0)):
        return f"dilations={list(attributes['dilations'])} with padding"
    return None


def emit_max_pool(x: DeviceValue, unit: NodeUnit, builder: Builder) -> DeviceValue:
    """The largest stored byte of each window; int8 in the stored domain has the same order."""
    geometry = window(unit.node.attributes, x.shape[2:], unit.node.attributes["kernel_shape"])
    shape = (*x.shape[:2], *geometry.output)
    y = builder.emit(
        "MaxPool",
        [image(x, builder)],
        shape,
        signed=x.signed,
        kernel=geometry.kernel,
        **geometry.attributes,
    )
    return unimage(y, len(x.shape), builder)


def lower_max_pool(unit: NodeUnit, builder: Builder) -> None:
    """One MaxPool; other quantization parameters of the result as a Lookup behind it."""
    y = emit_max_pool(builder.value(unit.inputs[0]), unit, builder)
    finish(unit, builder, y, quantization(unit.inputs[0], builder.graph))


def emit_average_pool(
    x: DeviceValue, unit: NodeUnit, x_params: QuantParams, y_params: QuantParams, builder: Builder
) -> DeviceValue:
    """QLinearAveragePool; as QLinearGlobalAveragePool where the window is the whole image."""
    attributes = unit.node.attributes
    kernel = attributes["kernel_shape"]
    geometry = window(attributes, x.shape[2:], kernel)
    if tuple(kernel) == x.shape[2:] and not any(geometry.attributes["pads"]):
        return emit_global_average_pool(x, x_params, y_params, builder)
    y = builder.emit(
        "AveragePool",
        [image(x, builder)],
        (*x.shape[:2], *geometry.output),
        signed=y_params.signed,
        kernel=geometry.kernel,
        **geometry.attributes,
        count_include_pad=attributes.get("count_include_pad", 0),
        x_params=x_params,
        y_params=y_params,
    )
    return unimage(y, len(x.shape), builder)


def lower_average_pool(unit: NodeUnit, builder: Builder) -> None:
    """One AveragePool."""
    (y,) = unit.outputs
    x_params, y_params = params_of(unit.inputs[0], builder), params_of(y, builder)
    x = builder.value(unit.inputs[0])
    builder.set(y, emit_average_pool(x, unit, x_params, y_params, builder))


def as_image(x: DeviceValue, builder: Builder) -> DeviceValue:
    """[N, C, ...] as an image with all other axes in one row, where it is not yet an image."""
    if len(x.shape) == 4:
        return x
    return reshape(x, (*x.shape[:2], 1, math.prod(x.shape[2:])), builder)


def global_shape(x: DeviceValue) -> tuple[int, ...]:
    """What a global pool leaves of a shape."""
    return (*x.shape[:2], *(1,) * (len(x.shape) - 2))


def emit_global_average_pool(
    x: DeviceValue, x_params: QuantParams, y_params: QuantParams, builder: Builder
) -> DeviceValue:
    """QLinearGlobalAveragePool."""
    y = builder.emit(
        "GlobalAveragePool",
        [as_image(x, builder)],
        (*x.shape[:2], 1, 1),
        signed=y_params.signed,
        x_params=x_params,
        y_params=y_params,
    )
    return reshape(y, global_shape(x), builder)


def lower_global_average_pool(unit: NodeUnit, builder: Builder) -> None:
    """One GlobalAveragePool."""
    (y,) = unit.outputs
    params = (params_of(unit.inputs[0], builder), params_of(y, builder))
    builder.set(y, emit_global_average_pool(builder.value(unit.inputs[0]), *params, builder))


def lower_global_max_pool(unit: NodeUnit, builder: Builder) -> None:
    """One MaxPool with a window as large as the image."""
    x = builder.value(unit.inputs[0])
    flat = as_image(x, builder)
    y = builder.emit(
        "MaxPool",
        [flat],
        (*flat.shape[:2], 1, 1),
        signed=x.signed,
        kernel=flat.shape[2:],
        strides=(1, 1),
        dilations=(1, 1),
        pads=(0, 0, 0, 0),
    )
    source = quantization(unit.inputs[0], builder.graph)
    finish(unit, builder, reshape(y, global_shape(x), builder), source)


_WINDOW = (rank(0, 3, 4), known_auto_pad, no_negative_pads)

AVERAGE = (*UNARY, same_dtype(0), *_WINDOW, not_dilated)

GLOBAL_AVERAGE = (*UNARY, same_dtype(0), rank(0, 3, 8))

SUPPORT = (
    OperatorSupport("MaxPool", lower_max_pool, (*MOVEMENT, *_WINDOW, windows_reach_inside)),
    OperatorSupport("AveragePool", lower_average_pool, AVERAGE, since=7),
    OperatorSupport("GlobalAveragePool", lower_global_average_pool, GLOBAL_AVERAGE),
    OperatorSupport("GlobalMaxPool", lower_global_max_pool, (*MOVEMENT, rank(0, 3, 8))),
)

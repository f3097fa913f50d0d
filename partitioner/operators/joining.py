"""Larger values from smaller ones: Concat, Pad, Expand and Tile."""

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import DeviceValue, Graph
from furiosa_ep.partitioner.operators.emitting import (
    expand,
    integers,
    movement,
    requantize,
    reshape,
    slice_axes,
)
from furiosa_ep.partitioner.operators.expressions import real_constant
from furiosa_ep.partitioner.operators.numerics import quantize
from furiosa_ep.partitioner.operators.rules import (
    EIGHT_BIT,
    MOVEMENT,
    attribute,
    describe,
    eight_bit,
    known,
    quantization,
    rank,
    representable,
    usable_scales,
)
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)

MODES = ("constant", "edge", "reflect", "wrap")


@constraint(DeclineCode.NOT_QUANTIZED, "Quantize all inputs of the Concat.")
def all_alike(unit: NodeUnit, graph: Graph) -> str | None:
    """All inputs must be 8-bit: all through DequantizeLinear, or all of one type as they are."""
    kinds = set()
    for one in unit.inputs:
        quantized = quantization(one, graph) is not None
        dtype = graph.dtype(one.name)
        if not quantized and (dtype not in EIGHT_BIT or one.scales is not None):
            return describe(one, graph)
        kinds.add("quantized" if quantized else dtype)
    return ", ".join(describe(one, graph) for one in unit.inputs) if len(kinds) > 1 else None


def lower_concat(unit: NodeUnit, builder: Builder) -> None:
    """One Concat, behind a Lookup for each input with other quantization parameters."""
    (y,) = unit.outputs
    parts = []
    for one in unit.inputs:
        source = quantization(one, builder.graph)
        parts.append(requantize(builder.value(one), source, y.params, builder))
    axis = unit.node.attributes["axis"] % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    signed = parts[0].signed
    builder.set(y, builder.emit("Concat", parts, shape, signed=signed, axis=axis))


def lower_pad(unit: NodeUnit, builder: Builder) -> None:
    """Pad: negative pads as a Slice, the others by mode; the value quantized as the output is."""
    (y,) = unit.outputs
    source = quantization(unit.inputs[0], builder.graph)
    x = requantize(builder.value(unit.inputs[0]), source, y.params, builder)
    rank = len(x.shape)
    given = integers(unit, builder, "pads", 1) or []
    axes = integers(unit, builder, "axes", 3)
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    begins, ends = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        begins[axis], ends[axis] = given[position], given[position + len(axes)]
    mode = unit.node.attributes.get("mode", "constant")
    if mode == "constant":
        builder.set(y, _pad_constant(x, begins, ends, pad_value(unit, builder), builder))
    else:
        builder.set(y, _pad_by_gather(x, begins, ends, mode, builder))


def pad_value(unit: NodeUnit, builder: Builder) -> int:
    """The stored byte that a Pad of mode constant fills with."""
    (y,) = unit.outputs
    name = unit.inputs[2].name if len(unit.inputs) > 2 else ""
    array = builder.graph.constant(name) if name else None
    if y.params is None:
        code = 0 if array is None else int(array.reshape(-1)[0])
        return code + 128 if builder.value(unit.inputs[0]).signed else code
    real: npt.ArrayLike = unit.node.attributes.get("value", 0.0)
    if array is not None:
        real = real_constant(unit.inputs[2], array).reshape(-1)[0]
    return int(quantize(real, y.params))


def _pad_constant(
    x: DeviceValue, begins: list[int], ends: list[int], value: int, builder: Builder
) -> DeviceValue:
    starts = [max(0, -begin) for begin in begins]
    sizes = [dim + min(0, b) + min(0, e) for dim, b, e in zip(x.shape, begins, ends, strict=True)]
    x = slice_axes(x, starts, sizes, builder)
    pads = tuple(max(0, pad) for pad in (*begins, *ends))
    if not any(pads):
        return x
    rank = len(begins)
    shape = [dim + pads[axis] + pads[rank + axis] for axis, dim in enumerate(x.shape)]
    return builder.emit("Pad", [x], shape, signed=x.signed, pads=pads, value=value)


def _pad_by_gather(
    x: DeviceValue, begins: list[int], ends: list[int], mode: str, builder: Builder
) -> DeviceValue:
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if not (begin or end):
            continue
        dim = x.shape[axis]
        places = np.arange(-begin, dim + end)
        if mode == "edge":
            indices = np.clip(places, 0, dim - 1)
        elif mode == "wrap":
            indices = places % dim
        else:
            period = max(1, 2 * (dim - 1))
            indices = (dim - 1) - np.abs(places % period - (dim - 1))
        shape = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
        x = builder.emit("Gather", [x], shape, signed=x.signed, axis=axis, indices=indices)
    return x


@constraint(DeclineCode.DTYPE, "Make the value a constant of one element.")
def padding_value(unit: NodeUnit, graph: Graph) -> str | None:
    """The value to pad with must be a constant of one element, or absent."""
    one = unit.inputs[2] if len(unit.inputs) > 2 else None
    if one is None or not one.name:
        return None
    array = graph.constant(one.name)
    return describe(one, graph) if array is None or array.size != 1 else None


def to_shape(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Expand: broadcast with a shape."""
    wanted = integers(unit, builder, "shape", 1) or []
    return expand(x, np.broadcast_shapes(x.shape, tuple(wanted)), builder)


def tile(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Tile: each axis repeated, one after the other."""
    for axis, repeat in enumerate(integers(unit, builder, "repeats", 1) or []):
        if repeat == 1:
            continue
        shape = (*x.shape[:axis], x.shape[axis] * repeat, *x.shape[axis + 1 :])
        before, after = (
            int(np.prod(dims, dtype=np.int64)) for dims in (x.shape[:axis], x.shape[axis:])
        )
        once = reshape(x, (before, 1, after), builder)
        x = reshape(expand(once, (before, repeat, after), builder), shape, builder)
    return x


SUPPORT = (
    OperatorSupport(
        "Concat",
        lower_concat,
        (eight_bit, all_alike, usable_scales, rank(0, 1, 8), representable),
        since=4,
    ),
    OperatorSupport(
        "Pad",
        lower_pad,
        (
            eight_bit,
            usable_scales,
            rank(0, 1, 8),
            attribute("mode", MODES, "constant"),
            known(1, "pads"),
            padding_value,
            known(3, "axes"),
            representable,
        ),
        since=2,
    ),
    OperatorSupport(
        "Expand",
        movement(to_shape),
        (*MOVEMENT, rank(0, 0, 8), known(1, "shape", optional=False)),
        since=8,
    ),
    OperatorSupport(
        "Tile",
        movement(tile),
        (*MOVEMENT, rank(0, 1, 8), known(1, "repeats", optional=False)),
        since=6,
    ),
)

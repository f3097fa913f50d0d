"""Larger values from smaller ones: Concat, Pad, Expand and Tile."""

import numpy as np

from furiosa_ep.graph import DeviceValue, Graph, QuantParams
from furiosa_ep.partitioner.operators.emitting import (
    expand,
    finish,
    integers,
    movement,
    requantize,
    reshape,
    slice_axes,
)
from furiosa_ep.partitioner.operators.expressions import real_constant
from furiosa_ep.partitioner.operators.numerics import dequantize, quantize
from furiosa_ep.partitioner.operators.rules import (
    EIGHT_BIT,
    HAS_AXES,
    MOVEMENT,
    attribute,
    describe,
    eight_bit,
    known,
    present,
    quantization,
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


@constraint(DeclineCode.NOT_QUANTIZED, "Quantize the result of the Concat.")
def one_quantization(unit: NodeUnit, graph: Graph) -> str | None:
    """Without QuantizeLinear behind it, all inputs must have one scale and zero point."""
    found = {quantization(one, graph) for one in unit.inputs}
    if unit.outputs[0].params is not None or len(found) == 1:
        return None
    return f"{len(found)} different ones, output {describe(unit.outputs[0], graph)}"


def lower_concat(unit: NodeUnit, builder: Builder) -> None:
    """One Concat, behind a Lookup for each input with other quantization parameters."""
    (y,) = unit.outputs
    first = quantization(unit.inputs[0], builder.graph)
    parts = []
    for one in unit.inputs:
        source = quantization(one, builder.graph)
        part = builder.value(one)
        if source is not None and y.params is not None:
            part = requantize(part, source, y.params, builder)
        parts.append(part)
    axis = unit.node.attributes["axis"] % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    signed = parts[0].signed
    whole = builder.emit("Concat", parts, shape, signed=signed, axis=axis)
    finish(unit, builder, whole, y.params or first)


def lower_pad(unit: NodeUnit, builder: Builder) -> None:
    """Pad: negative pads as a Slice, the others by mode; the value quantized as the output is."""
    source = quantization(unit.inputs[0], builder.graph)
    target = unit.outputs[0].params or source
    x = builder.value(unit.inputs[0])
    if source is not None and target is not None:
        x = requantize(x, source, target, builder)
    rank = len(x.shape)
    given = integers(unit, builder, "pads", 1) or []
    axes = integers(unit, builder, "axes", 3)
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    begins, ends = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        begins[axis], ends[axis] = given[position], given[position + len(axes)]
    mode = unit.node.attributes.get("mode", "constant")
    if mode == "constant":
        value = pad_value(unit, builder.graph, target)
        padded = _pad_constant(x, begins, ends, value + 128 * (x.signed and not target), builder)
    else:
        padded = _pad_by_gather(x, begins, ends, mode, builder)
    finish(unit, builder, padded, target)


def pad_real(unit: NodeUnit, graph: Graph) -> np.float32:
    """The real number that a quantized Pad of mode constant fills with."""
    array = graph.constant(unit.inputs[2].name) if present(unit, 2) else None
    if array is None:
        return np.float32(unit.node.attributes.get("value", 0.0))
    return np.float32(real_constant(unit.inputs[2], array).reshape(-1)[0])


def pad_value(unit: NodeUnit, graph: Graph, target: QuantParams | None) -> int:
    """The stored byte of quantization `target` that a Pad of mode constant fills with.

    Where that is None, the integer that the model names.
    """
    if target is not None:
        return int(quantize(pad_real(unit, graph), target))
    array = graph.constant(unit.inputs[2].name) if present(unit, 2) else None
    return 0 if array is None else int(array.reshape(-1)[0])


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
    if not present(unit, 2):
        return None
    array = graph.constant(unit.inputs[2].name)
    return describe(unit.inputs[2], graph) if array is None or array.size != 1 else None


@constraint(DeclineCode.NOT_QUANTIZED, "Quantize the result of the Pad.")
def value_in_codes(unit: NodeUnit, graph: Graph) -> str | None:
    """Without QuantizeLinear behind it, Pad must fill with a value that the input can have."""
    source = quantization(unit.inputs[0], graph)
    if source is None or unit.outputs[0].params is not None:
        return None
    real = pad_real(unit, graph)
    code = quantize(real, source)
    return None if dequantize(code, source.scale, source.stored_zero_point) == real else f"{real}"


@constraint(DeclineCode.ATTRIBUTE, "Crop with Slice.")
def only_constant_crops(unit: NodeUnit, graph: Graph) -> str | None:
    """Pads must not be negative where the mode is not constant."""
    if unit.node.attributes.get("mode", "constant") == "constant":
        return None
    array = graph.constant(unit.node.input(1))
    pads = unit.node.attributes.get("pads", [] if array is None else array.tolist())
    return f"pads {pads}" if min(pads, default=0) < 0 else None


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


CONCAT = (eight_bit, all_alike, one_quantization, usable_scales, HAS_AXES, representable)

SUPPORT = (
    OperatorSupport("Concat", lower_concat, CONCAT, since=4),
    OperatorSupport(
        "Pad",
        lower_pad,
        (
            eight_bit,
            usable_scales,
            HAS_AXES,
            attribute("mode", MODES, "constant"),
            known(1, "pads"),
            padding_value,
            value_in_codes,
            only_constant_crops,
            known(3, "axes"),
            representable,
        ),
        since=2,
    ),
    OperatorSupport(
        "Expand",
        movement(to_shape),
        (*MOVEMENT, HAS_AXES, known(1, "shape", optional=False)),
        since=8,
    ),
    OperatorSupport(
        "Tile",
        movement(tile),
        (*MOVEMENT, HAS_AXES, known(1, "repeats", optional=False)),
        since=6,
    ),
)

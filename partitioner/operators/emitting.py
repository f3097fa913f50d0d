"""Small steps that lowerings are put together from."""

from collections.abc import Callable, Sequence

from furiosa_ep.graph import DeviceValue, QuantParams, Table
from furiosa_ep.partitioner.operators.numerics import requantize_table
from furiosa_ep.partitioner.operators.rules import quantization
from furiosa_ep.partitioner.support import Builder, NodeUnit, Operand
from furiosa_ep.program.program import DType

Lowering = Callable[[NodeUnit, Builder], None]


def params_of(operand: Operand, builder: Builder) -> QuantParams:
    """The quantization of an operand that a constraint has found to be quantized per tensor."""
    params = quantization(operand, builder.graph)
    if params is None:
        raise ValueError(f"{operand.name!r}: expected an 8-bit value with one scale")
    return params


def reshape(value: DeviceValue, shape: Sequence[int], builder: Builder) -> DeviceValue:
    """`value` with another shape of as many elements."""
    if value.shape == tuple(shape):
        return value
    return builder.emit("Reshape", [value], shape, value.dtype, signed=value.signed)


def transpose(value: DeviceValue, perm: Sequence[int], builder: Builder) -> DeviceValue:
    """`value` with its axes permuted."""
    if list(perm) == list(range(len(perm))):
        return value
    shape = [value.shape[axis] for axis in perm]
    return builder.emit(
        "Transpose", [value], shape, value.dtype, signed=value.signed, perm=tuple(perm)
    )


def expand(value: DeviceValue, shape: Sequence[int], builder: Builder) -> DeviceValue:
    """`value` broadcast to `shape` by ONNX's rules."""
    shape = tuple(shape)
    if value.shape == shape:
        return value
    value = reshape(value, (1,) * (len(shape) - len(value.shape)) + value.shape, builder)
    if value.shape == shape:
        return value
    return builder.emit("Expand", [value], shape, value.dtype, signed=value.signed)


def slice_axes(
    value: DeviceValue,
    starts: Sequence[int],
    shape: Sequence[int],
    builder: Builder,
    steps: Sequence[int] | None = None,
) -> DeviceValue:
    """The part of `value` with the given shape that begins at `starts`."""
    steps = tuple(steps or (1,) * len(shape))
    if value.shape == tuple(shape) and all(step == 1 for step in steps):
        return value
    return builder.emit(
        "Slice",
        [value],
        shape,
        value.dtype,
        signed=value.signed,
        starts=tuple(starts),
        steps=steps,
    )


def lookup(value: DeviceValue, table: Table, signed: bool, builder: Builder) -> DeviceValue:
    """`value` through a table."""
    return builder.emit("Lookup", [value], value.shape, DType.U8, signed=signed, table=table)


def requantize(
    value: DeviceValue, source: QuantParams, target: QuantParams, builder: Builder
) -> DeviceValue:
    """`value` with other quantization parameters."""
    if source == target:
        return value
    table = Table(lambda: requantize_table(source, target))
    return lookup(value, table, target.signed, builder)


def convert(
    value: DeviceValue,
    source: QuantParams | None,
    target: QuantParams | None,
    builder: Builder,
) -> DeviceValue:
    """What an operator that moves bytes hands on, given its quantization `source`.

    It gets that of the output, becomes float32 where the output has none, or stays as it is where
    the operator is not quantized at all (None).
    """
    if source is None:
        return value
    if target is None:
        return builder.emit("Dequantize", [value], value.shape, DType.F32, params=source)
    return requantize(value, source, target, builder)


def finish(
    unit: NodeUnit, builder: Builder, value: DeviceValue, source: QuantParams | None
) -> None:
    """Declare the unit's output to be `value`, which has the quantization `source`."""
    (output, *_) = unit.outputs
    builder.set(output, convert(value, source, output.params, builder))


def integers(unit: NodeUnit, builder: Builder, name: str, position: int) -> list[int] | None:
    """What newer opsets have as an input, older ones as an attribute; None where it is absent."""
    if name in unit.node.attributes:
        value = unit.node.attributes[name]
        return [int(one) for one in (value if isinstance(value, list) else [value])]
    given = unit.node.input(position)
    if not given:
        return None
    array = builder.folded(given)
    if array is None:
        raise ValueError(f"{given!r}: expected a constant or a value that follows from shapes")
    return [int(one) for one in array.reshape(-1)]


def movement(move: Callable[[NodeUnit, Builder, DeviceValue], DeviceValue]) -> Lowering:
    """The lowering of an operator that moves the bytes of its first input."""

    def lower(unit: NodeUnit, builder: Builder) -> None:
        (data, *_) = unit.inputs
        moved = move(unit, builder, builder.value(data))
        finish(unit, builder, moved, quantization(data, builder.graph))

    return lower

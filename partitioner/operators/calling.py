"""The lowering of an operator that one kernel of a plugin computes."""

from collections.abc import Callable, Mapping, Sequence

from furiosa_ep.graph import DeviceValue, ElementType, QuantParams
from furiosa_ep.partitioner.operators.rules import quantization
from furiosa_ep.partitioner.support import Builder, NodeUnit, Operand
from furiosa_ep.program import DType

Attributes = Callable[[NodeUnit], Mapping[str, int | float]]
OutputShape = Callable[[NodeUnit, Sequence[tuple[int, ...] | None]], Sequence[int]]


def kernel_lowering(
    opcode: str,
    attributes: Attributes = lambda unit: {},
    shape: OutputShape | None = None,
) -> Callable[[NodeUnit, Builder], None]:
    """A lowering that calls a kernel with the unit's inputs, in their order.

    Args:
        opcode: of the kernel.
        attributes: the kernel's attributes for a unit.
        shape: the output's for a unit and the shapes of its inputs (None for an absent one); by
            default that of the first input.
    """

    def lower(unit: NodeUnit, builder: Builder) -> None:
        inputs = [builder.value(one) if one.name else None for one in unit.inputs]
        shapes = [None if one is None else one.shape for one in inputs]
        output = unit.outputs[0]
        dims = shape(unit, shapes) if shape is not None else (shapes[0] or ())
        builder.set(
            output,
            builder.call(
                opcode,
                inputs,
                dims,
                _dtype(output, builder),
                params=[
                    _params(one, value, builder)
                    for one, value in zip(unit.inputs, inputs, strict=True)
                ],
                y_params=output.params,
                **attributes(unit),
            ),
        )

    return lower


def _params(one: Operand, value: DeviceValue | None, builder: Builder) -> QuantParams | None:
    return None if value is None else quantization(one, builder.graph)


def _dtype(output: Operand, builder: Builder) -> DType:
    """That of the output on the device, where 8-bit values are U8."""
    known = builder.graph.dtype(output.name)
    if output.params is not None or known in (ElementType.UINT8, ElementType.INT8):
        return DType.U8
    return DType(known or ElementType.FLOAT)

"""Elementwise arithmetic on several values: Add, Sub, Mul, Div, Min, Max, Sum and Mean.

ONNX Runtime fuses Add and Mul with their DequantizeLinear and QuantizeLinear to QLinearAdd and
QLinearMul, where all are there and of one type. Everything else it computes in float32.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.operators.emitting import params_of
from furiosa_ep.partitioner.operators.expressions import (
    CODE,
    DIV,
    Code,
    Expression,
    constant_word,
)
from furiosa_ep.partitioner.operators.rules import (
    QUANTIZE_MODEL,
    describe,
    float_between,
    is_constant,
    quantization,
    quantized_inputs,
    quantized_output,
    representable,
    same_dtype,
    usable_scales,
)
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    Operand,
    OperatorSupport,
    constraint,
)
from furiosa_ep.program.program import DType


@constraint(DeclineCode.NOT_QUANTIZED, QUANTIZE_MODEL)
def quantized_or_constant(unit: NodeUnit, graph: Graph) -> str | None:
    """Inputs must be uint8 or int8 through DequantizeLinear, or constants; at least one is none."""
    for one in unit.inputs:
        if quantization(one, graph) is None and not is_constant(one, graph):
            return describe(one, graph)
    if all(is_constant(one, graph) for one in unit.inputs):
        return "constants only"
    return None


def is_fused(unit: NodeUnit, graph: Graph) -> bool:
    """Whether ONNX Runtime makes QLinearAdd or QLinearMul of the unit."""
    values = [quantization(one, graph) for one in (*unit.inputs, *unit.outputs)]
    return None not in values and len({one.signed for one in values if one is not None}) == 1


def swaps_operands(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether QLinearAdd takes the second operand first, for operands of these shapes.

    It does so where, along the innermost axis of the result that is longer than 1, the first
    operand stays the same and the second does not.
    """
    for first, second in itertools.zip_longest(reversed(a), reversed(b), fillvalue=1):
        if (first, second) != (1, 1):
            return first == 1
    return False


def lower_add(unit: NodeUnit, builder: Builder) -> None:
    """QLinearAdd."""
    a, b = unit.inputs
    if swaps_operands(builder.value(a).shape, builder.value(b).shape):
        a, b = b, a
    _emit("Add", a, b, unit.outputs[0], builder)


def lower_mul(unit: NodeUnit, builder: Builder) -> None:
    """QLinearMul."""
    a, b = unit.inputs
    _emit("Mul", a, b, unit.outputs[0], builder)


def _emit(kind: str, a: Operand, b: Operand, y: Operand, builder: Builder) -> None:
    values = [builder.value(a), builder.value(b)]
    y_params = params_of(y, builder)
    value = builder.emit(
        kind,
        values,
        np.broadcast_shapes(*(one.shape for one in values)),
        DType.U8,
        signed=y_params.signed,
        a_params=params_of(a, builder),
        b_params=params_of(b, builder),
        y_params=y_params,
    )
    builder.set(y, value)


def lower(unit: NodeUnit, builder: Builder) -> None:
    """One Add or Mul where ONNX Runtime fuses the unit, else Expressions."""
    if unit.node.op_type in _FUSED and is_fused(unit, builder.graph):
        _FUSED[unit.node.op_type](unit, builder)
    else:
        lower_expression(unit, builder)


def lower_expression(unit: NodeUnit, builder: Builder) -> None:
    """The operator in float32, a few operands at a time."""
    node, (y,) = unit.node, unit.outputs
    mean = node.op_type == "Mean"
    step = CODE["Sum" if mean else node.op_type]
    pending: list[Operand] = list(unit.inputs)
    expression = Expression(builder)
    codes: list[Code] = []
    shape: tuple[int, ...] = ()
    while pending:
        if expression.full:
            partial = expression.emit(step(node, codes), None, shape)
            expression = Expression(builder)
            codes = [expression.push_value(partial, None)]
        operand = pending.pop(0)
        codes.append(expression.push(operand))
        shape = np.broadcast_shapes(shape, builder.value(operand).shape)
    code = step(node, codes)
    if mean:
        code = (*code, constant_word(len(unit.inputs)), (DIV, 0))
    builder.set(y, expression.emit(code, y.params, shape))


_FUSED = {"Add": lower_add, "Mul": lower_mul}

CONSTRAINTS = (quantized_or_constant, float_between, usable_scales, representable)

FUSED = (quantized_inputs(0, 1), quantized_output, same_dtype(0, 1), usable_scales, representable)
"""For QLinearAdd and QLinearMul, which have no other form."""

SUPPORT = tuple(
    OperatorSupport(op_type, lower, CONSTRAINTS, since=since)
    for op_type, since in (
        ("Add", 7),
        ("Sub", 7),
        ("Mul", 7),
        ("Div", 7),
        ("Min", 8),
        ("Max", 8),
        ("Sum", 8),
        ("Mean", 8),
    )
)

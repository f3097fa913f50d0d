"""Elementwise arithmetic on several values: Add, Sub, Mul, Div, Min, Max, Sum and Mean.

ONNX Runtime fuses Add and Mul with their DequantizeLinear and QuantizeLinear to QLinearAdd and
QLinearMul, where all are there and of one type. Everything else it computes in float32.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from furiosa_ep.graph import DeviceValue, Graph, QuantParams
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
    representable,
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


def emit_add(
    a: DeviceValue, b: DeviceValue, params: Sequence[QuantParams], builder: Builder
) -> DeviceValue:
    """QLinearAdd; `params` of a, b and the result."""
    a_params, b_params, y_params = params
    if swaps_operands(a.shape, b.shape):
        a, b, a_params, b_params = b, a, b_params, a_params
    return _emit("Add", a, b, (a_params, b_params, y_params), builder)


def emit_mul(
    a: DeviceValue, b: DeviceValue, params: Sequence[QuantParams], builder: Builder
) -> DeviceValue:
    """QLinearMul; `params` of a, b and the result."""
    return _emit("Mul", a, b, params, builder)


def _emit(
    kind: str, a: DeviceValue, b: DeviceValue, params: Sequence[QuantParams], builder: Builder
) -> DeviceValue:
    a_params, b_params, y_params = params
    return builder.emit(
        kind,
        [a, b],
        np.broadcast_shapes(a.shape, b.shape),
        DType.U8,
        signed=y_params.signed,
        a_params=a_params,
        b_params=b_params,
        y_params=y_params,
    )


def lower(unit: NodeUnit, builder: Builder) -> None:
    """One Add or Mul where ONNX Runtime fuses the unit, else Expressions."""
    (y,) = unit.outputs
    if unit.node.op_type in _FUSED and is_fused(unit, builder.graph):
        params = [params_of(one, builder) for one in (*unit.inputs, y)]
        a, b = (builder.value(one) for one in unit.inputs)
        builder.set(y, _FUSED[unit.node.op_type](a, b, params, builder))
        return
    builder.set(y, lower_expression(unit, builder))


def lower_expression(unit: NodeUnit, builder: Builder) -> DeviceValue:
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
    return expression.emit(code, y.params, shape)


_FUSED = {"Add": emit_add, "Mul": emit_mul}

CONSTRAINTS = (quantized_or_constant, float_between, usable_scales, representable)

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

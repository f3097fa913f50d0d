"""Operators of models in the QOperator format, which hold scales and zero points themselves.

A unit of such an operator is turned into what the QDQ group with the same meaning looks like, and
then checked and lowered as that.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from furiosa_ep.graph import ElementType, Graph, QuantParams
from furiosa_ep.partitioner.operators import arithmetic, conv, joining, matmul, pool, reduce, tables
from furiosa_ep.partitioner.operators.emitting import Lowering, params_of, transpose
from furiosa_ep.partitioner.operators.rules import UNARY, describe
from furiosa_ep.partitioner.quantization import quant_params, quantized_operand
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

View = Callable[[NodeUnit, Graph], NodeUnit]
"""Makes a QDQ group of a unit."""


def _with_scales(unit: NodeUnit, graph: Graph, position: int, axis: int | None = None) -> Operand:
    """The input at a position, followed by its scale and its zero point."""
    value, scale, zero_point = (unit.node.input(position + i) for i in range(3))
    return quantized_operand(graph, value, scale, zero_point, axis)


def _output(unit: NodeUnit, graph: Graph, position: int) -> Operand:
    """The output, whose scale and zero point are the inputs from a position on."""
    name = unit.node.outputs[0]
    scale, zero_point = unit.node.input(position), unit.node.input(position + 1)
    dtype = graph.dtype(name) or ElementType.UINT8
    return Operand(name, quant_params(graph, scale, zero_point, dtype) if scale else None)


def _bias(name: str, x: Operand, weights: Operand) -> Operand:
    """An int32 bias with the scales that the operator takes it to have."""
    if not name or x.params is None or weights.scales is None:
        return Operand(name, None)
    return Operand(name, None, x.params.scale * weights.scales, weights.scales.astype("i8") * 0, 0)


def _of(*positions: int, output: int) -> View:
    """A view with inputs at `positions`, each followed by scale and zero point."""

    def view(unit: NodeUnit, graph: Graph) -> NodeUnit:
        inputs = tuple(_with_scales(unit, graph, position) for position in positions)
        return _replaced(unit, inputs, _output(unit, graph, output))

    return view


def _replaced(unit: NodeUnit, inputs: Sequence[Operand], output: Operand) -> NodeUnit:
    return dataclasses.replace(unit, inputs=tuple(inputs), outputs=(output,))


def view_conv(unit: NodeUnit, graph: Graph) -> NodeUnit:
    """QLinearConv as Conv."""
    x, weights = _with_scales(unit, graph, 0), _with_scales(unit, graph, 3, axis=0)
    bias = _bias(unit.node.input(8), x, weights)
    return _replaced(unit, (x, weights, bias), _output(unit, graph, 6))


def view_gemm(unit: NodeUnit, graph: Graph) -> NodeUnit:
    """QGemm as Gemm."""
    columns = 0 if unit.node.attributes.get("transB", 0) else 1
    a, b = _with_scales(unit, graph, 0), _with_scales(unit, graph, 3, axis=columns)
    return _replaced(unit, (a, b, _bias(unit.node.input(6), a, b)), _output(unit, graph, 7))


def view_matmul(unit: NodeUnit, graph: Graph) -> NodeUnit:
    """QLinearMatMul as MatMul."""
    inputs = _with_scales(unit, graph, 0), _with_scales(unit, graph, 3, axis=1)
    return _replaced(unit, inputs, _output(unit, graph, 6))


def view_concat(unit: NodeUnit, graph: Graph) -> NodeUnit:
    """QLinearConcat as Concat."""
    inputs = [_with_scales(unit, graph, i) for i in range(2, len(unit.node.inputs), 3)]
    return _replaced(unit, inputs, _output(unit, graph, 0))


view_binary = _of(0, 3, output=6)
"""QLinearAdd and QLinearMul as Add and Mul."""

view_unary = _of(0, output=3)
"""Operators with one input."""


def lower_average_pool(unit: NodeUnit, builder: Builder) -> None:
    """QLinearAveragePool and QLinearGlobalAveragePool, with channels first or last."""
    (y,) = unit.outputs
    params = (params_of(unit.inputs[0], builder), params_of(y, builder))
    x = builder.value(unit.inputs[0])
    rank = len(x.shape)
    channels_last = bool(unit.node.attributes.get("channels_last", 0))
    if channels_last:
        x = transpose(x, (0, rank - 1, *range(1, rank - 1)), builder)
    if unit.node.op_type == "QLinearGlobalAveragePool":
        value = pool.emit_global_average_pool(x, *params, builder)
    else:
        value = pool.emit_average_pool(x, unit, *params, builder)
    if channels_last:
        value = transpose(value, (0, *range(2, rank), 1), builder)
    builder.set(y, value)


def lower_softmax(unit: NodeUnit, builder: Builder) -> None:
    """QLinearSoftmax, which names the opset whose Softmax it is."""
    (y,) = unit.outputs
    params: tuple[QuantParams, QuantParams]
    params = (params_of(unit.inputs[0], builder), params_of(y, builder))
    flattens = unit.node.attributes.get("opset", 13) < 13
    axis = unit.node.attributes.get("axis", -1)
    x = builder.value(unit.inputs[0])
    builder.set(y, reduce.emit_softmax(x, axis, flattens, params, builder))


@constraint(DeclineCode.NOT_QUANTIZED, "Quantize statically, with scales from calibration.")
def static_scales(unit: NodeUnit, graph: Graph) -> str | None:
    """Scales must be known before the run."""
    return f"{unit.node.op_type}, for scales that are computed in the run"


def _no_lowering(unit: NodeUnit, builder: Builder) -> None:
    """Never called: `static_scales` declines every unit that it is registered for."""
    raise NotImplementedError(f"{unit.label}: {describe(unit.inputs[0], builder.graph)}")


def _viewed(check: Constraint, view: View) -> Constraint:
    def viewed(unit: NodeUnit, graph: Graph) -> Decline | None:
        return check(view(unit, graph), graph)

    functools.update_wrapper(viewed, check)
    return viewed  # type: ignore[return-value]


def _support(
    op_type: str, view: View, lower: Lowering, constraints: Sequence[Constraint], domain: str
) -> OperatorSupport:
    return OperatorSupport(
        op_type,
        lambda unit, builder: lower(view(unit, builder.graph), builder),
        tuple(_viewed(one, view) for one in constraints),
        domain,
        since=1 if domain else 10,
    )


SUPPORT = (
    _support("QLinearConv", view_conv, conv.lower, conv.CONSTRAINTS, ""),
    _support("QLinearMatMul", view_matmul, matmul.lower_matmul, matmul.MATMUL, ""),
    _support("QGemm", view_gemm, matmul.lower_gemm, matmul.GEMM, "com.microsoft"),
    *(
        _support(f"QLinear{op_type}", view, lower, constraints, "com.microsoft")
        for op_type, view, lower, constraints in (
            ("Add", view_binary, arithmetic.lower_add, arithmetic.FUSED),
            ("Mul", view_binary, arithmetic.lower_mul, arithmetic.FUSED),
            ("Sigmoid", view_unary, tables.lower_table, UNARY),
            ("LeakyRelu", view_unary, tables.lower_table, UNARY),
            ("GlobalAveragePool", view_unary, lower_average_pool, pool.GLOBAL_AVERAGE),
            ("AveragePool", view_unary, lower_average_pool, pool.AVERAGE),
            ("Concat", view_concat, joining.lower_concat, joining.CONCAT),
            ("Softmax", view_unary, lower_softmax, reduce.SOFTMAX),
        )
    ),
    *(
        OperatorSupport(op_type, _no_lowering, (static_scales,), domain)
        for domain, op_types in (
            ("", ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")),
            ("com.microsoft", ("DynamicQuantizeMatMul", "MatMulIntegerToFloat")),
        )
        for op_type in op_types
    ),
)

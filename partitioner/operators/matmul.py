"""Gemm and MatMul: a 1x1 convolution over rows where weights are constant, else a product."""

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import DeviceValue, Graph
from furiosa_ep.partitioner.operators.conv import (
    emit_conv,
    integer_bias,
    integer_weights,
    quantized_weights,
    weight_scales,
)
from furiosa_ep.partitioner.operators.emitting import (
    expand,
    params_of,
    reshape,
    transpose,
)
from furiosa_ep.partitioner.operators.numerics import requantize_multiplier
from furiosa_ep.partitioner.operators.rules import (
    MAX_RANK,
    constant,
    describe,
    is_constant,
    operand,
    present,
    quantization,
    quantized_inputs,
    rank,
    representable,
    same_dtype,
    usable_scales,
)
from furiosa_ep.partitioner.quantization import is_quantize
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)
from furiosa_ep.program.program import DType

_UNIT_WINDOW = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "group": 1}


@constraint(DeclineCode.QUANT_PARAMS, "Quantize the second operand per tensor or per column.")
def scale_per_column(unit: NodeUnit, graph: Graph) -> str | None:
    """The second operand must have one scale, or, where it is a constant matrix, one per column."""
    b = operand(unit, 1)
    if quantization(b, graph) is not None:
        return None
    columns = 0 if unit.node.attributes.get("transB", 0) else 1
    shape = graph.shape(b.name) or ()
    if not is_constant(b, graph) or len(shape) != 2 or b.axis not in (columns, columns - 2):
        return f"{describe(b, graph)} with scales along axis {b.axis}"
    return None


@constraint(DeclineCode.ATTRIBUTE, "Scale the weights instead.")
def no_factors_with_bias(unit: NodeUnit, graph: Graph) -> str | None:
    """With a bias, alpha and beta must be 1."""
    attributes = unit.node.attributes
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    return f"alpha={alpha}, beta={beta}" if present(unit, 2) and (alpha, beta) != (1, 1) else None


@constraint(DeclineCode.SHAPE, "Use a bias with one value per column.")
def bias_per_column(unit: NodeUnit, graph: Graph) -> str | None:
    """The bias must be one value, or one for each column."""
    shape = graph.shape(operand(unit, 2).name) if present(unit, 2) else ()
    rows = 1 if shape is None or len(shape) < 2 else shape[-2]
    return describe(operand(unit, 2), graph) if shape is None or rows != 1 else None


@constraint(DeclineCode.WEIGHTS_NOT_CONSTANT, "Use Add after the Gemm.")
def weights_with_bias(unit: NodeUnit, graph: Graph) -> str | None:
    """With a bias, the second operand must be a constant."""
    b = operand(unit, 1)
    return describe(b, graph) if present(unit, 2) and not is_constant(b, graph) else None


@constraint(DeclineCode.NOT_QUANTIZED, "Let one QuantizeLinear alone read the result.")
def quantized_once(unit: NodeUnit, graph: Graph) -> str | None:
    """The result must be read by one QuantizeLinear and nothing else, or by none at all."""
    (y,) = unit.outputs
    readers = [node.label for node in graph.consumers(y.name) if is_quantize(node)]
    return ", ".join(readers) + " and others" if y.params is None and readers else None


def lower_rows(
    unit: NodeUnit,
    builder: Builder,
    x: DeviceValue,
    weights: npt.NDArray[np.int8 | np.int16],
    alpha: float,
) -> DeviceValue:
    """x[..., K] times weights[N, K]: the rows as the pixels of one image of height 1."""
    *outer, depth = x.shape
    rows = int(np.prod(outer, dtype=np.int64))
    pixels = transpose(reshape(x, (1, 1, rows, depth), builder), (0, 3, 1, 2), builder)
    bias = builder.graph.constant(unit.inputs[2].name) if present(unit, 2) else None
    columns = weights.shape[0]
    y = emit_conv(
        pixels,
        weights.reshape(columns, depth, 1, 1),
        None if bias is None else np.broadcast_to(bias.reshape(-1), columns),
        weight_scales(unit.inputs[1]),
        (params_of(unit.inputs[0], builder), unit.outputs[0].params),
        builder,
        alpha=alpha,
        attributes=dict(_UNIT_WINDOW),
        output=(1, rows),
    )
    return reshape(transpose(y, (0, 2, 3, 1), builder), (*outer, columns), builder)


def lower_product(
    unit: NodeUnit, builder: Builder, a: DeviceValue, b: DeviceValue, alpha: float
) -> DeviceValue:
    """a[..., M, K] times b[..., K, N], both activations."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a_params, b_params = (params_of(one, builder) for one in unit.inputs[:2])
    y_params = unit.outputs[0].params
    return builder.emit(
        "MatMul",
        [
            expand(a, (*batch, *a.shape[-2:]), builder),
            expand(b, (*batch, *b.shape[-2:]), builder),
        ],
        (*batch, a.shape[-2], b.shape[-1]),
        DType.F32 if y_params is None else DType.U8,
        signed=y_params is not None and y_params.signed,
        a_zero_point=a_params.stored_zero_point,
        b_zero_point=b_params.stored_zero_point,
        y_zero_point=0 if y_params is None else y_params.stored_zero_point,
        multiplier=np.float32(
            requantize_multiplier(
                a_params.scale, b_params.scale, None if y_params is None else y_params.scale, alpha
            )
        ),
    )


def lower_gemm(unit: NodeUnit, builder: Builder) -> None:
    """Alpha * A * B + C."""
    attributes = unit.node.attributes
    a = builder.value(unit.inputs[0])
    if attributes.get("transA", 0):
        a = transpose(a, (1, 0), builder)
    alpha = attributes.get("alpha", 1.0)
    transposed = bool(attributes.get("transB", 0))
    if is_constant(unit.inputs[1], builder.graph):
        weights = integer_weights(unit.inputs[1], 0 if transposed else 1, builder)
        y = lower_rows(unit, builder, a, weights if transposed else weights.T, alpha)
    else:
        b = builder.value(unit.inputs[1])
        y = lower_product(
            unit, builder, a, transpose(b, (1, 0), builder) if transposed else b, alpha
        )
    builder.set(unit.outputs[0], y)


def lower_matmul(unit: NodeUnit, builder: Builder) -> None:
    """A * B by NumPy's rules for batches and vectors."""
    a = builder.value(unit.inputs[0])
    b_shape = builder.graph.shape(unit.inputs[1].name)
    if is_constant(unit.inputs[1], builder.graph) and b_shape is not None and len(b_shape) == 2:
        weights = integer_weights(unit.inputs[1], 1, builder)
        builder.set(unit.outputs[0], lower_rows(unit, builder, a, weights.T, 1.0))
        return
    b = builder.value(unit.inputs[1])
    rows, columns = len(a.shape) > 1, len(b.shape) > 1
    y = lower_product(
        unit,
        builder,
        a if rows else reshape(a, (1, *a.shape), builder),
        b if columns else reshape(b, (*b.shape, 1), builder),
        1.0,
    )
    shape = (*y.shape[:-2], *y.shape[-2:-1] * rows, *y.shape[-1:] * columns)
    builder.set(unit.outputs[0], reshape(y, shape, builder))


_SHARED = (
    quantized_inputs(0),
    quantized_weights,
    scale_per_column,
    quantized_once,
    usable_scales,
    representable,
)

GEMM = (
    *_SHARED,
    rank(0, 2, 2),
    rank(1, 2, 2),
    constant(2, "bias"),
    integer_bias,
    bias_per_column,
    no_factors_with_bias,
    weights_with_bias,
    same_dtype(0),
)

MATMUL = (*_SHARED, rank(0, 1, MAX_RANK), rank(1, 1, MAX_RANK), same_dtype(0))

SUPPORT = (
    OperatorSupport("Gemm", lower_gemm, GEMM, since=7),
    OperatorSupport("MatMul", lower_matmul, MATMUL),
)

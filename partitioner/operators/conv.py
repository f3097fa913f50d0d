"""Conv: integer convolution with a requantization for each output channel."""

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import DeviceValue, ElementType, Graph, QuantParams
from furiosa_ep.partitioner.operators.emitting import params_of
from furiosa_ep.partitioner.operators.numerics import requantize_multiplier
from furiosa_ep.partitioner.operators.rules import (
    EIGHT_BIT,
    INFER_SHAPES,
    QUANTIZE_MODEL,
    constant,
    describe,
    operand,
    present,
    quantized_inputs,
    quantized_output,
    rank,
    representable,
    same_dtype,
    usable_scales,
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
    Operand,
    OperatorSupport,
    constraint,
)
from furiosa_ep.program.program import DType

BIAS_SCALE_RELATIVE, BIAS_SCALE_ABSOLUTE = 1e-2, 1e-6
"""How far ONNX Runtime lets the scale of a bias be from the product, to fuse the unit (1.31)."""


@constraint(DeclineCode.NOT_QUANTIZED, QUANTIZE_MODEL)
def quantized_weights(unit: NodeUnit, graph: Graph) -> str | None:
    """Weights must be int8 or uint8, through DequantizeLinear."""
    weights = operand(unit, 1)
    if weights.params is None and (
        weights.scales is None or graph.dtype(weights.name) not in EIGHT_BIT
    ):
        return describe(weights, graph)
    return None


@constraint(DeclineCode.QUANT_PARAMS, "Quantize weights per tensor or along axis 0.")
def scale_per_output_channel(unit: NodeUnit, graph: Graph) -> str | None:
    """Weights must have one scale, or one for each output channel (axis 0)."""
    weights = operand(unit, 1)
    count = 1 if weights.scales is None else weights.scales.size
    if count != 1 and weights.axis != 0:
        return f"{describe(weights, graph)} with {count} scales along axis {weights.axis}"
    return None


@constraint(DeclineCode.DTYPE, "Quantize the bias to int32 with the scale of input times weights.")
def integer_bias(unit: NodeUnit, graph: Graph) -> str | None:
    """The bias must be absent, or int32 with zero point 0 through DequantizeLinear."""
    if not present(unit, 2):
        return None
    bias = operand(unit, 2)
    zeros = bias.zero_points is None or not bias.zero_points.any()
    if graph.dtype(bias.name) != ElementType.INT32 or bias.scales is None or not zeros:
        return describe(bias, graph)
    return None


@constraint(DeclineCode.QUANT_PARAMS, "Quantize the bias with the scale of input times weights.")
def bias_scale_of_products(unit: NodeUnit, graph: Graph) -> str | None:
    """The scale of the bias must be that of the input times that of the weights."""
    if not present(unit, 2):
        return None
    x, weights, bias = unit.inputs[:3]
    if x.params is None or weights.scales is None or bias.scales is None:
        return None
    products = x.params.scale * weights.scales
    if bias.scales.size < products.size or not np.allclose(
        bias.scales, products, BIAS_SCALE_RELATIVE, BIAS_SCALE_ABSOLUTE
    ):
        return f"{describe(bias, graph)} with scale {bias.scales} for {products}"
    return None


@constraint(DeclineCode.SHAPE, INFER_SHAPES)
def grouped_channels(unit: NodeUnit, graph: Graph) -> str | None:
    """The groups must divide the output channels, and the input's channels must be known."""
    weights = graph.shape(operand(unit, 1).name)
    x = graph.shape(operand(unit, 0).name)
    group = unit.node.attributes.get("group", 1)
    if weights is None or not isinstance(weights[0], int) or weights[0] % group:
        return f"group={group} with weights {describe(operand(unit, 1), graph)}"
    if x is not None and isinstance(x[1], int) and weights[1] != x[1] // group:
        return f"group={group} with input {describe(operand(unit, 0), graph)}"
    return None


def integer_weights(
    weights: Operand, axis: int, builder: Builder
) -> npt.NDArray[np.int8 | np.int16]:
    """Constant weights less their zero points, as int8 where they fit and int16 elsewhere."""
    array = builder.graph.constant(weights.name)
    if array is None:
        raise ValueError(f"{weights.name!r}: expected constant weights")
    zero_points = np.zeros((), np.int64) if weights.zero_points is None else weights.zero_points
    if array.dtype == np.int8 and not zero_points.any():
        return array  # as it lies in ONNX Runtime's memory
    if zero_points.size != 1:
        zero_points = zero_points.reshape([-1 if one == axis else 1 for one in range(array.ndim)])
    else:
        zero_points = zero_points.reshape(())
    centred = array.astype(np.int16) - zero_points.astype(np.int16)
    if centred.size == 0 or (centred.min() >= -128 and centred.max() <= 127):
        return centred.astype(np.int8)
    return centred


def weight_scales(weights: Operand) -> npt.NDArray[np.float32]:
    """The scales of constant weights: one, or one for each output channel."""
    if weights.scales is None:
        raise ValueError(f"{weights.name!r}: expected weights through DequantizeLinear")
    return weights.scales


def emit_conv(
    x: DeviceValue,
    weights: npt.NDArray[np.int8 | np.int16],
    bias: npt.NDArray[np.int32] | None,
    scales: npt.NDArray[np.float32],
    quantization: tuple[QuantParams, QuantParams | None],
    builder: Builder,
    *,
    alpha: float = 1.0,
    attributes: dict[str, object],
    output: tuple[int, int],
) -> DeviceValue:
    """A Conv on an image; `quantization` is that of x and y, None for a float result."""
    x_params, y_params = quantization
    channels = weights.shape[0]
    multiplier = requantize_multiplier(
        x_params.scale, scales, None if y_params is None else y_params.scale, alpha
    )
    full_bias = np.zeros(channels, np.int32) if bias is None else bias
    return builder.emit(
        "Conv",
        [
            x,
            builder.constant(weights),
            builder.constant(np.ascontiguousarray(full_bias, np.int32)),
            builder.constant(
                np.ascontiguousarray(np.broadcast_to(multiplier.reshape(-1), channels))
            ),
        ],
        (x.shape[0], channels, *output),
        DType.F32 if y_params is None else DType.U8,
        signed=y_params is not None and y_params.signed,
        x_zero_point=x_params.stored_zero_point,
        y_zero_point=0 if y_params is None else y_params.stored_zero_point,
        **attributes,
    )


def lower(unit: NodeUnit, builder: Builder) -> None:
    """One Conv; a one-dimensional convolution as an image of height 1."""
    node, graph = unit.node, builder.graph
    x = builder.value(unit.inputs[0])
    weights = integer_weights(unit.inputs[1], 0, builder)
    geometry = window(node.attributes, x.shape[2:], weights.shape[2:])
    (y,) = unit.outputs
    result = emit_conv(
        image(x, builder),
        weights.reshape(*weights.shape[:2], *geometry.kernel),
        graph.constant(unit.inputs[2].name) if present(unit, 2) else None,
        weight_scales(unit.inputs[1]),
        (params_of(unit.inputs[0], builder), y.params),
        builder,
        attributes={**geometry.attributes, "group": node.attributes.get("group", 1)},
        output=geometry.output,
    )
    builder.set(y, unimage(result, len(x.shape), builder))


CONSTRAINTS = (
    quantized_inputs(0),
    quantized_weights,
    quantized_output,
    rank(0, 3, 4),
    constant(1, "weights", optional=False),
    constant(2, "bias"),
    scale_per_output_channel,
    integer_bias,
    bias_scale_of_products,
    same_dtype(0),
    usable_scales,
    known_auto_pad,
    no_negative_pads,
    grouped_channels,
    representable,
)

SUPPORT = (OperatorSupport("Conv", lower, CONSTRAINTS),)

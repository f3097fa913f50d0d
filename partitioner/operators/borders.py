"""QuantizeLinear and DequantizeLinear on their own: where float values enter and leave the NPU."""

from furiosa_ep.graph import ElementType, Graph, QuantParams
from furiosa_ep.partitioner.operators.rules import (
    EIGHT_BIT,
    QUANTIZE_MODEL,
    describe,
    dtype_name,
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
from furiosa_ep.program.program import DType

ONE_SCALE = "Quantize activations with one constant scale for the whole tensor."


@constraint(DeclineCode.DTYPE, "Insert a Cast to float32.")
def float_input(unit: NodeUnit, graph: Graph) -> str | None:
    """The value to quantize must be float32."""
    name = unit.node.inputs[0]
    return None if graph.dtype(name) == ElementType.FLOAT else describe(name, graph)


@constraint(DeclineCode.DTYPE, "Insert a Cast to float32.")
def float_output(unit: NodeUnit, graph: Graph) -> str | None:
    """The result must be float32."""
    name = unit.node.outputs[0]
    dtype = graph.dtype(name)
    return None if dtype in (ElementType.FLOAT, None) else describe(name, graph)


@constraint(DeclineCode.DTYPE, QUANTIZE_MODEL)
def eight_bit_side(unit: NodeUnit, graph: Graph) -> str | None:
    """The quantized value must be uint8 or int8."""
    quantizes = unit.node.op_type == "QuantizeLinear"
    name = unit.node.outputs[0] if quantizes else unit.node.inputs[0]
    dtype = graph.dtype(name)
    return None if dtype in EIGHT_BIT else f"{name!r} is {dtype_name(dtype)}"


@constraint(DeclineCode.QUANT_PARAMS, ONE_SCALE)
def one_scale(unit: NodeUnit, graph: Graph) -> str | None:
    """Scale and zero point must be constants of one element."""
    for name in unit.node.inputs[1:]:
        array = graph.constant(name) if name else None
        if name and (array is None or array.size != 1):
            return describe(name, graph)
    return None


@constraint(DeclineCode.WEIGHTS_NOT_CONSTANT, "Fold constants: ONNX Runtime does so by itself.")
def not_constant(unit: NodeUnit, graph: Graph) -> str | None:
    """The value must not be a constant."""
    name = unit.node.inputs[0]
    return describe(name, graph) if graph.is_constant(name) else None


def border_params(unit: NodeUnit, builder: Builder) -> QuantParams:
    """The quantization parameters that the node itself holds."""
    node, graph = unit.node, builder.graph
    scale, zero_point = graph.constant(node.inputs[1]), graph.constant(node.input(2))
    quantizes = node.op_type == "QuantizeLinear"
    signed = graph.dtype(node.outputs[0] if quantizes else node.inputs[0]) == ElementType.INT8
    if scale is None:
        raise ValueError(f"{node.label}: expected a constant scale")
    zero = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
    return QuantParams(scale.reshape(-1)[0], zero, signed)


def lower_quantize(unit: NodeUnit, builder: Builder) -> None:
    """One Quantize."""
    params = border_params(unit, builder)
    x = builder.value(unit.node.inputs[0])
    y = builder.emit("Quantize", [x], x.shape, DType.U8, signed=params.signed, params=params)
    builder.set(unit.node.outputs[0], y)


def lower_dequantize(unit: NodeUnit, builder: Builder) -> None:
    """One Dequantize."""
    params = border_params(unit, builder)
    x = builder.value(unit.inputs[0])
    y = builder.emit("Dequantize", [x], x.shape, DType.F32, params=params)
    builder.set(unit.node.outputs[0], y)


_SHARED = (one_scale, eight_bit_side, not_constant, usable_scales, representable)

SUPPORT = tuple(
    OperatorSupport(op_type, lower, (float_side, *_SHARED), domain, since)
    for op_type, lower, float_side in (
        ("QuantizeLinear", lower_quantize, float_input),
        ("DequantizeLinear", lower_dequantize, float_output),
    )
    for domain, since in (("", 10), ("com.microsoft", 1))
)

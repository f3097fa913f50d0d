"""Constraints that several operator families share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from furiosa_ep.graph import ElementType, Graph, QuantParams
from furiosa_ep.graph.element_type import element_name
from furiosa_ep.partitioner.shape_arithmetic import known_at_compile_time
from furiosa_ep.partitioner.support import (
    Constraint,
    DeclineCode,
    NodeUnit,
    Operand,
    constraint,
)

EIGHT_BIT = (ElementType.UINT8, ElementType.INT8)
MAX_RANK = 8
"""The highest rank of a tensor on the NPU."""

QUANTIZE_MODEL = (
    "Quantize the model with quantize_static in the QDQ format, this operator included."
)
INFER_SHAPES = "Run shape inference on the model, or give its inputs shapes."


def dtype_name(dtype: int | None) -> str:
    """The ONNX name of an element type in lower case."""
    return "unknown" if not dtype else element_name(dtype)


def describe(operand: Operand | str, graph: Graph) -> str:
    """A value as decline sentences name it: 'x' (uint8 [1, 3, h, w])."""
    name = operand if isinstance(operand, str) else operand.name
    if not name:
        return "nothing"
    shape = graph.shape(name)
    dims = "" if shape is None else " [" + ", ".join(str(dim or "?") for dim in shape) + "]"
    return f"{name!r} ({dtype_name(graph.dtype(name))}{dims})"


def operand(unit: NodeUnit, position: int) -> Operand:
    """An input of the unit; one without a name where it is absent."""
    return unit.inputs[position] if position < len(unit.inputs) else Operand("", None)


def present(unit: NodeUnit, position: int) -> bool:
    """Whether the unit has the input."""
    return bool(operand(unit, position).name)


def quantization(one: Operand, graph: Graph) -> QuantParams | None:
    """The per-tensor quantization of an 8-bit operand, constant ones included."""
    if one.params is not None:
        return one.params
    dtype = graph.dtype(one.name)
    if one.scales is None or one.scales.size != 1 or dtype not in EIGHT_BIT:
        return None
    zero_point = 0 if one.zero_points is None else int(one.zero_points.reshape(-1)[0])
    return QuantParams(np.float32(one.scales.reshape(-1)[0]), zero_point, dtype == ElementType.INT8)


def is_constant(one: Operand, graph: Graph) -> bool:
    """Whether the operand is a constant of the model."""
    return graph.is_constant(one.name)


def _documented(
    code: DeclineCode, requirement: str, mend: str = ""
) -> Callable[[Callable[[NodeUnit, Graph], str | None]], Constraint]:
    """`constraint` for a function whose requirement is put together from values."""

    def decorate(function: Callable[[NodeUnit, Graph], str | None]) -> Constraint:
        function.__doc__ = requirement
        return constraint(code, mend)(function)

    return decorate


def quantized_inputs(*positions: int) -> Constraint:
    """The inputs at `positions` (all that are present where none is given) are quantized."""
    which = f"Input{'s' * (len(positions) > 1)} {', '.join(map(str, positions))}"
    subject = which if positions else "All inputs"

    @_documented(
        DeclineCode.NOT_QUANTIZED,
        f"{subject} must be uint8 or int8 with one scale, through DequantizeLinear.",
        QUANTIZE_MODEL,
    )
    def inputs_quantized(unit: NodeUnit, graph: Graph) -> str | None:
        for position in positions or range(len(unit.inputs)):
            one = operand(unit, position)
            if (one.name or positions) and quantization(one, graph) is None:
                return f"input {position} is {_quantization_text(one, graph)}"
        return None

    return inputs_quantized


@constraint(DeclineCode.NOT_QUANTIZED, QUANTIZE_MODEL)
def quantized_output(unit: NodeUnit, graph: Graph) -> str | None:
    """Every output must be uint8 or int8 with one scale, through QuantizeLinear."""
    for position, one in enumerate(unit.outputs):
        if one.name and one.params is None:
            return f"output {position} is {_quantization_text(one, graph)}"
    return None


@constraint(DeclineCode.NOT_QUANTIZED, QUANTIZE_MODEL)
def eight_bit(unit: NodeUnit, graph: Graph) -> str | None:
    """The data must be uint8 or int8, as they are or through DequantizeLinear with one scale."""
    one = operand(unit, 0)
    if quantization(one, graph) is not None:
        for position, output in enumerate(unit.outputs):
            dtype = graph.dtype(output.name) if output.name else ElementType.FLOAT
            if output.params is None and dtype not in (ElementType.FLOAT, None):
                return f"output {position} is {_quantization_text(output, graph)}"
        return None
    if graph.dtype(one.name) not in EIGHT_BIT or one.scales is not None:
        return f"input 0 is {_quantization_text(one, graph)}"
    return None


def _quantization_text(one: Operand, graph: Graph) -> str:
    text = describe(one, graph)
    if one.scales is not None and one.scales.size != 1:
        return f"{text} with {one.scales.size} scales along axis {one.axis}"
    return text


@constraint(DeclineCode.QUANT_PARAMS, "Calibrate again: such a scale comes from broken data.")
def usable_scales(unit: NodeUnit, graph: Graph) -> str | None:
    """Every scale must be a positive, finite number."""
    for one in (*unit.inputs, *unit.outputs):
        scales = one.params.scale if one.params else one.scales
        if scales is None:
            continue
        values = np.reshape(scales, -1)
        usable = (values > 0) & np.isfinite(values)
        if not usable.all():
            return f"{one.name!r} with scale {values[~usable][0]}"
    return None


def rank(position: int, lowest: int, highest: int, *, known: bool = True) -> Constraint:
    """The rank of an input is within limits; `known`: and it must be known."""
    allowed = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
    how = "a known rank" if known else "a rank"

    @_documented(DeclineCode.RANK, f"Input {position} must have {how} of {allowed}.", INFER_SHAPES)
    def rank_within(unit: NodeUnit, graph: Graph) -> str | None:
        one = operand(unit, position)
        shape = graph.shape(one.name)
        if shape is None:
            return f"{describe(one, graph)} of unknown rank" if known else None
        if not lowest <= len(shape) <= highest:
            return f"{describe(one, graph)} of rank {len(shape)}"
        return None

    return rank_within


@constraint(DeclineCode.RANK, "Reshape to fewer dims around this operator.")
def representable(unit: NodeUnit, graph: Graph) -> str | None:
    """Tensors must have at most 8 dims, none of them 0."""
    data = [one for one in unit.inputs if one.scales is not None or not is_constant(one, graph)]
    for one in (*data, *unit.outputs):
        shape = graph.shape(one.name) if one.name else None
        if shape is not None and (len(shape) > MAX_RANK or 0 in shape):
            return describe(one, graph)
    return None


def constant(position: int, what: str, *, optional: bool = True) -> Constraint:
    """An input is a constant of the model, or absent where that is allowed."""
    weights = what in ("weights", "bias")
    code = DeclineCode.WEIGHTS_NOT_CONSTANT if weights else DeclineCode.DYNAMIC_SHAPE

    @_documented(
        code,
        f"Input {position} ({what}) must be a constant of the model.",
        "Make it an initializer, for instance by constant folding.",
    )
    def is_constant_input(unit: NodeUnit, graph: Graph) -> str | None:
        one = operand(unit, position)
        if not one.name:
            return None if optional else "nothing"
        return None if graph.is_constant(one.name) else describe(one, graph)

    return is_constant_input


def known(position: int, what: str, *, optional: bool = True) -> Constraint:
    """An input is known when the input shapes are, or absent where that is allowed."""

    @_documented(
        DeclineCode.DYNAMIC_SHAPE,
        f"Input {position} ({what}) must be a constant or follow from shapes alone.",
        "Make it an initializer, or compute it with Shape and arithmetic on it.",
    )
    def known_before_the_run(unit: NodeUnit, graph: Graph) -> str | None:
        one = operand(unit, position)
        if not one.name:
            return None if optional else "nothing"
        return None if known_at_compile_time(graph, one.name) else describe(one, graph)

    return known_before_the_run


def attribute(name: str, allowed: Sequence[Any], default: Any) -> Constraint:
    """An attribute has one of the allowed values."""
    text = ", ".join(map(repr, allowed))

    @_documented(
        DeclineCode.ATTRIBUTE, f"Attribute {name} must be one of: {text}.", "Use one of these."
    )
    def attribute_allowed(unit: NodeUnit, graph: Graph) -> str | None:
        value = unit.node.attributes.get(name, default)
        return None if value in allowed else f"{name}={value!r}"

    return attribute_allowed


@constraint(DeclineCode.ATTRIBUTE, "Leave the other outputs away where nothing reads them.")
def one_output(unit: NodeUnit, graph: Graph) -> str | None:
    """Only the first output may be used."""
    used = [name for name in unit.node.outputs[1:] if name]
    if used and (used[0] in graph.outputs or graph.consumers(used[0])):
        return f"{unit.node.op_type} with output {used[0]!r}"
    return None


@constraint(DeclineCode.ATTRIBUTE, "Export the model for inference.")
def inference(unit: NodeUnit, graph: Graph) -> str | None:
    """The operator must not be in training mode."""
    if unit.node.attributes.get("training_mode", 0):
        return "training_mode=1"
    if unit.node.op_type == "Dropout" and present(unit, 2):
        mode = graph.constant(unit.inputs[2].name)
        if mode is None or bool(mode.reshape(-1)[0]):
            return f"training_mode {describe(unit.inputs[2], graph)}"
    return None


@constraint(DeclineCode.DTYPE, "Dequantize to float32.")
def float_between(unit: NodeUnit, graph: Graph) -> str | None:
    """Between DequantizeLinear and QuantizeLinear, values must be float32."""
    for name in (*unit.node.inputs[:1], *unit.node.outputs[:1]):
        if graph.dtype(name) not in (ElementType.FLOAT, None):
            return describe(name, graph)
    return None


def same_dtype(*positions: int) -> Constraint:
    """The inputs at `positions` and the output are all uint8 or all int8."""

    @_documented(
        DeclineCode.DTYPE,
        f"Inputs {', '.join(map(str, positions))} and the output must all be uint8 or all int8.",
        "Quantize all activations of the model to the same type.",
    )
    def same(unit: NodeUnit, graph: Graph) -> str | None:
        values = [*(operand(unit, position) for position in positions), *unit.outputs[:1]]
        params = [quantization(one, graph) for one in values]
        if len({one.signed for one in params if one is not None}) > 1:
            return ", ".join(describe(one, graph) for one in values)
        return None

    return same


UNARY: tuple[Constraint, ...] = (
    quantized_inputs(0),
    quantized_output,
    usable_scales,
    representable,
)
"""For operators with one activation."""

MOVEMENT: tuple[Constraint, ...] = (eight_bit, usable_scales, one_output, representable)
"""For operators that move bytes and compute nothing."""

HAS_AXES = rank(0, 1, MAX_RANK, known=False)
"""For operators with an axis, of whatever rank."""

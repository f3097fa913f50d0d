"""ConvTranspose: in float32 between DequantizeLinear and QuantizeLinear, as ONNX Runtime does."""

import numpy as np

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.operators.emitting import params_of
from furiosa_ep.partitioner.operators.expressions import real_constant
from furiosa_ep.partitioner.operators.rules import (
    INFER_SHAPES,
    constant,
    describe,
    float_between,
    operand,
    present,
    quantized_inputs,
    rank,
    representable,
    usable_scales,
)
from furiosa_ep.partitioner.operators.windows import (
    image,
    known_auto_pad,
    no_negative_pads,
    transposed_window,
    unimage,
)
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)
from furiosa_ep.program.program import DType


@constraint(DeclineCode.SHAPE, INFER_SHAPES)
def grouped_input(unit: NodeUnit, graph: Graph) -> str | None:
    """The weights must fit the input's channels, in groups that divide them."""
    weights = graph.shape(operand(unit, 1).name)
    x = graph.shape(operand(unit, 0).name)
    group = unit.node.attributes.get("group", 1)
    channels = weights[0] if weights else None
    fits = isinstance(channels, int) and channels % group == 0
    if fits and (x is None or not isinstance(x[1], int) or x[1] == channels):
        return None
    return (
        f"group={group}, {describe(operand(unit, 0), graph)}, {describe(operand(unit, 1), graph)}"
    )


@constraint(DeclineCode.SHAPE, "Use MatMul and Reshape instead.")
def more_than_one_pixel(unit: NodeUnit, graph: Graph) -> str | None:
    """The input must be larger than one pixel, for which ONNX Runtime sums in another order."""
    shape = graph.shape(operand(unit, 0).name) or ()
    return describe(operand(unit, 0), graph) if set(shape[2:]) == {1} else None


def lower(unit: NodeUnit, builder: Builder) -> None:
    """One ConvTranspose with weights and bias in float32."""
    graph, node = builder.graph, unit.node
    (y,) = unit.outputs
    x = builder.value(unit.inputs[0])
    arrays = [graph.constant(one.name) for one in unit.inputs[1:3] if one.name]
    weights, *bias = (
        np.ascontiguousarray(real_constant(one, array))
        for one, array in zip(unit.inputs[1:], arrays, strict=False)
        if array is not None
    )
    geometry, output_padding = transposed_window(node.attributes, x.shape[2:], weights.shape[2:])
    group = node.attributes.get("group", 1)
    value = builder.emit(
        "ConvTranspose",
        [
            image(x, builder),
            builder.constant(weights.reshape(*weights.shape[:2], *geometry.kernel)),
            builder.constant(bias[0]) if present(unit, 2) else None,
        ],
        (x.shape[0], weights.shape[1] * group, *geometry.output),
        DType.F32 if y.params is None else DType.U8,
        signed=y.params is not None and y.params.signed,
        **geometry.attributes,
        output_padding=output_padding,
        group=group,
        x_params=params_of(unit.inputs[0], builder),
        y_params=y.params,
    )
    builder.set(y, unimage(value, len(x.shape), builder))


SUPPORT = (
    OperatorSupport(
        "ConvTranspose",
        lower,
        (
            quantized_inputs(0),
            float_between,
            rank(0, 3, 4),
            constant(1, "weights", optional=False),
            constant(2, "bias"),
            usable_scales,
            known_auto_pad,
            no_negative_pads,
            grouped_input,
            more_than_one_pixel,
            representable,
        ),
    ),
)

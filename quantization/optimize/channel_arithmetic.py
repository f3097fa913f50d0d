"""Mul, Add, Sub, Div and Neg with constants, one value or one for each channel."""

import numpy as np
import onnx

from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.optimize.layers import (
    Affine,
    Channels,
    fold_into_producer,
    fold_into_reader,
    per_channel,
)
from furiosa_ep.quantization.samples import Array


def fold_channel_arithmetic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Mul, Add, Sub, Div and Neg by constants join the weights and the bias of a layer.

    Of the Conv, ConvTranspose, Gemm, MatMul or BatchNormalization that computes their input, or
    else of the layer that alone reads their result, if no output of it sees padding where anything
    is added. The constants hold one value, or one for each channel. A MatMul has no bias.
    """
    graph = EditableGraph(model)
    for node in graph.nodes("Mul", "Add", "Sub", "Div", "Neg"):
        constants = [graph.constant(name) for name in node.input]
        varying = [name for name, one in zip(node.input, constants, strict=True) if one is None]
        if len(varying) != 1:
            continue

        def affine(
            channels: Channels,
            node: onnx.NodeProto = node,
            constants: list[Array | None] = constants,
        ) -> Affine | None:
            return _affine(node.op_type, constants, channels)

        if not fold_into_producer(graph, node, varying[0], affine):
            fold_into_reader(graph, node, varying[0], affine)
    return graph.model()


def _affine(op_type: str, constants: list[Array | None], channels: Channels) -> Affine | None:
    ones, zeros = np.ones(channels.count), np.zeros(channels.count)
    if op_type == "Neg":
        return Affine(-ones, zeros)
    first, second = constants
    constant = first if second is None else second
    c = None if constant is None else per_channel(constant, channels)
    if c is None:
        return None
    match op_type:
        case "Mul":
            return Affine(c, zeros)
        case "Add":
            return Affine(ones, c)
        case "Sub":
            return Affine(ones, -c) if first is None else Affine(-ones, c)
    return Affine(1 / c, zeros) if first is None and c.all() else None

"""Gemm in the form that the NPU takes: constant weights, no factors, a bias for each column."""

import numpy as np
import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.copies import copied
from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.optimize.layers import FLOAT_TYPES, FLOATS, Channels, per_channel


def make_gemm(model: onnx.ModelProto) -> onnx.ModelProto:
    """MatMul of a matrix with constant weights becomes Gemm, which can have a bias.

    One of more dims than two stays, and an Add behind it.
    """
    graph = EditableGraph(model)
    for node in graph.nodes("MatMul"):
        x, weight = node.input
        if (
            graph.is_constant(weight)
            and graph.dtype(weight) in FLOAT_TYPES
            and graph.rank(weight) == graph.rank(x) == 2
        ):
            gemm = helper.make_node("Gemm", node.input, node.output, node.name)
            graph.replace([node], gemm)
    return graph.model()


def simplify_gemm(model: onnx.ModelProto) -> onnx.ModelProto:
    """The factors of a Gemm join its constants; its bias has one value for each column.

    A third operand that is no such bias, or that meets weights which are no constants, is added
    behind the Gemm.
    """
    graph = EditableGraph(model)
    for node in graph.nodes("Gemm"):
        _fold_factors(graph, node)
    for node in graph.nodes("Gemm"):
        if len(node.input) < 3 or not node.input[2]:
            continue
        if any(graph.producer(name, "DequantizeLinear") for name in node.input[1:]):
            continue  # quantized already
        is_bias = _flatten_bias(graph, node) and graph.is_constant(node.input[1])
        if not is_bias and attribute(node, "beta", 1.0) == 1:
            _split(graph, node)
    return graph.model()


def _fold_factors(graph: EditableGraph, node: onnx.NodeProto) -> None:
    """Alpha into the weights, beta into the bias, where these are constant."""
    for key, position in (("alpha", 1), ("beta", 2)):
        factor = attribute(node, key, 1.0)
        name = node.input[position] if position < len(node.input) else ""
        if factor == 1 or (name and not graph.is_constant(name)):
            continue
        array = graph.constant(name)
        simpler: onnx.NodeProto = copied(node)
        attributes = [one for one in node.attribute if one.name != key]
        del simpler.attribute[:]
        simpler.attribute.extend(attributes)
        if array is not None:
            if array.dtype not in FLOATS:
                continue
            with np.errstate(over="ignore"):
                scaled = (array.astype(np.float64) * factor).astype(array.dtype)
            if not np.isfinite(scaled).all():
                continue
            simpler.input[position] = graph.revise(name, scaled)
        graph.replace([node], simpler)
        node = simpler


def _flatten_bias(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    """Give a constant bias the shape [N]; whether it is one that can have it."""
    name = node.input[2]
    bias, weight = graph.constant(name), graph.shape(node.input[1])
    if weight is None or len(weight) != 2 or bias is None:
        return False
    columns = weight[0 if attribute(node, "transB", 0) else 1]
    if not isinstance(columns, int):
        return False
    flat = per_channel(bias, Channels(columns, 0, 2))
    if flat is None:
        return False
    if bias.shape != (columns,):
        graph.set_inputs(node, [*node.input[:2], graph.revise(name, flat.astype(bias.dtype))])
    return True


def _split(graph: EditableGraph, node: onnx.NodeProto) -> None:
    """Add the third operand behind the Gemm."""
    product: onnx.NodeProto = copied(node)
    third = product.input.pop()
    product.output[0] = graph.free_name(f"{node.output[0]}_product")
    name = graph.free_name(f"{node.name}_bias") if node.name else ""
    add = helper.make_node("Add", [product.output[0], third], node.output, name)
    graph.replace([node], product, add)

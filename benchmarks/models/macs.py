"""Count the multiplications that a model's convolutions and matrix products need."""

from math import prod

import onnx
from onnx import helper


def macs(model: onnx.ModelProto) -> int:
    """The multiply-accumulate operations of one run: Conv, ConvTranspose, Gemm and MatMul.

    Those with padding count. The shapes have to be static, or ValueError tells which is not.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return sum(_node_macs(node, shapes) for node in graph.node)


def _node_macs(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    first, second, output = (shapes.get(x, ()) for x in (*node.input[:2], node.output[0]))
    if not all(first) or not all(second) or not all(output) or not (first and second and output):
        raise ValueError(f"{node.op_type} {node.name!r}: expected static shapes")
    if node.op_type == "Conv":
        return prod(output) * prod(second[1:])
    if node.op_type == "ConvTranspose":
        return prod(first) * prod(second[1:])
    transposed = any(
        attribute.name == "transA" and helper.get_attribute_value(attribute)
        for attribute in node.attribute
    )
    return prod(output) * first[0 if transposed else -1]

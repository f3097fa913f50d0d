"""Softmax as it was before opset 13, when it took all axes behind its own together."""

import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.optimize.shape_values import Elements, shape_values


def unflatten_softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """Softmax between Flatten and the Reshape back works on its axis, where the others are 1.

    ONNX's conversion to opset 13 puts the two around Softmax and LogSoftmax.
    """
    graph = EditableGraph(model)
    values = shape_values(graph)
    for node in graph.nodes("Softmax", "LogSoftmax"):
        flatten = graph.producer(node.input[0], "Flatten")
        reshape = graph.sole_reader(node.output[0])
        if flatten is None or reshape is None or reshape.op_type != "Reshape" or reshape.domain:
            continue
        x = flatten.input[0]
        shape = graph.shape(x)
        if shape is None or attribute(node, "axis", -1) not in (-1, 1):
            continue
        axis = attribute(flatten, "axis", 1) % len(shape)
        wide = [place for place in range(axis, len(shape)) if shape[place] != 1]
        if len(wide) > 1 or not _restores(graph, reshape, x, values.get(reshape.input[1])):
            continue
        plain = helper.make_node(node.op_type, [x], reshape.output, node.name)
        plain.attribute.append(helper.make_attribute("axis", wide[0] if wide else axis))
        graph.replace([node, reshape], plain)
    return graph.model()


def _restores(
    graph: EditableGraph, reshape: onnx.NodeProto, x: str, target: Elements | None
) -> bool:
    """Whether a Reshape gives the shape of a value."""
    source = graph.producer(reshape.input[1], "Shape")
    if source is not None:
        return bool(source.input[0] == x) and not source.attribute
    shape = graph.shape(x)
    if target is None:
        array = graph.constant(reshape.input[1])
        target = None if array is None else Elements(tuple(array.tolist()))
    return target is not None and target.dims == shape and target.array() is not None

"""PRelu whose slopes are the same."""

import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.optimize.layers import FLOATS


def simplify_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """PRelu with one slope for all elements becomes LeakyRelu, or Relu where the slope is 0.

    Slopes that are the same at all places of a channel become one for each channel.
    """
    graph = EditableGraph(model)
    for node in graph.nodes("PRelu"):
        slope = graph.constant(node.input[1])
        rank = graph.rank(node.input[0])
        if slope is None or not slope.size or slope.dtype not in FLOATS:
            continue
        if (slope == slope.reshape(-1)[0]).all():
            alpha = float(slope.reshape(-1)[0])
            simpler = helper.make_node("Relu", node.input[:1], node.output, node.name)
            if alpha:
                simpler.op_type = "LeakyRelu"
                simpler.attribute.append(helper.make_attribute("alpha", alpha))
            graph.replace([node], simpler)
        elif rank is not None and slope.ndim == rank - 1 and slope.size > slope.shape[0]:
            first = slope.reshape(slope.shape[0], -1)[:, :1]
            per_channel = first.reshape(-1, *[1] * (slope.ndim - 1))
            if (slope == per_channel).all():
                graph.set_inputs(node, [node.input[0], graph.revise(node.input[1], per_channel)])
    return graph.model()

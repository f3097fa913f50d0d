"""What nothing reads."""

import onnx
import onnx.defs

from furiosa_ep.quantization.optimize.editing import EditableGraph


def remove_unused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Nodes and initializers that no output of the graph depends on go.

    So do optional outputs of a node, like the indices of a MaxPool.
    """
    graph = EditableGraph(model)
    for node in reversed(list(graph.nodes())):
        if not any(graph.is_used(name) for name in node.output):
            graph.remove(node)
            continue
        used = list(node.output)
        while used and not graph.is_used(used[-1]) and _is_optional(graph, node, len(used) - 1):
            used.pop()
        if len(used) < len(node.output):
            graph.set_outputs(node, used)
    graph.remove_unread_constants()
    return graph.model()


def _is_optional(graph: EditableGraph, node: onnx.NodeProto, position: int) -> bool:
    if node.domain:
        return False
    outputs = onnx.defs.get_schema(node.op_type, graph.opset()).outputs
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    return position < len(outputs) and outputs[position].option == optional

"""Shapes that Reshape computes in the run, as far as they are known before."""

import numpy as np
import onnx

from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.optimize.shape_values import Elements, shape_values
from furiosa_ep.quantization.optimize.shapes import Dim


def fix_reshapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A Reshape to dims of its input and to known ones takes them from a constant: as 0 and -1."""
    graph = EditableGraph(model)
    values = shape_values(graph)
    for node in graph.nodes("Reshape"):
        elements, shape = values.get(node.input[1]), graph.shape(node.input[0])
        if elements is None or attribute(node, "allowzero", 0):
            continue
        target = _target(elements, shape or ())
        if target is not None:
            array = np.array(target, np.int64)
            name = graph.add_constant(array, f"{node.output[0]}_shape")
            graph.set_inputs(node, [node.input[0], name])
    return graph.model()


def _target(elements: Elements, shape: tuple[Dim, ...]) -> list[int] | None:
    """What Reshape takes for these dims, or None where they cannot be said with constants."""
    target: list[int] = []
    for position, dim in enumerate(elements.dims):
        if isinstance(dim, int):
            target.append(dim)
        elif dim is not None and position < len(shape) and shape[position] == dim:
            target.append(0)
        else:
            target.append(-1)
    return target if target.count(-1) <= 1 else None

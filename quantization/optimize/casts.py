"""Casts of casts."""

import numpy as np
import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute


def join_casts(model: onnx.ModelProto) -> onnx.ModelProto:
    """A Cast reads what the Cast before it reads, where that one loses nothing."""
    graph = EditableGraph(model)
    for node in graph.nodes("Cast"):
        before = graph.producer(node.input[0], "Cast")
        if before is None:
            continue
        source, between = graph.dtype(before.input[0]), attribute(before, "to")
        if _keeps_values(source, between):
            graph.set_inputs(node, before.input[:1])
    return graph.model()


def _keeps_values(source: int, target: int) -> bool:
    """Whether the second element type has every number of the first."""
    if not source or onnx.TensorProto.STRING in (source, target):
        return False
    try:
        first, second = map(helper.tensor_dtype_to_np_dtype, (source, target))
    except KeyError:
        return False
    # NumPy calls the way from int64 to float64 safe.
    exact = first.itemsize < 8 or second.kind != "f" or first.kind == "f"
    return first.kind in "biuf" and second.kind in "biuf" and exact and np.can_cast(first, second)

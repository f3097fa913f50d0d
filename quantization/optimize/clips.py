"""Limits: Min, Max, Relu and Clip."""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.optimize.layers import FLOAT_TYPES

OPERATORS = ("Min", "Max", "Relu", "Clip")


class Limits(NamedTuple):
    """No less than `low` and no more than `high`, which is no smaller."""

    low: float = -np.inf
    high: float = np.inf

    def clip(self, value: float) -> float:
        """The nearest number within the limits."""
        return min(max(value, self.low), self.high)


def join_clips(model: onnx.ModelProto) -> onnx.ModelProto:
    """Min and Max with a constant of one element become Clip or Relu; several in a row become one.

    What these leave away, a quantizer takes out of the range of the value before them.
    """
    graph = EditableGraph(model)
    for node in graph.nodes(*OPERATORS):
        found = limits_of(graph, node)
        if found is None:
            continue
        x, limits = found
        before = graph.producer(x, *OPERATORS)
        inner = limits_of(graph, before) if before is not None else None
        if before is not None and inner is not None and graph.sole_reader(x) is node:
            x, limits = inner[0], Limits(limits.clip(inner[1].low), limits.clip(inner[1].high))
            graph.replace([before, node], _clip(graph, node, x, limits))
        elif node.op_type in ("Min", "Max"):
            graph.replace([node], _clip(graph, node, x, limits))
    return graph.model()


def limits_of(graph: EditableGraph, node: onnx.NodeProto) -> tuple[str, Limits] | None:
    """What a node limits, and how; None where it does something else."""
    if graph.dtype(node.output[0]) not in FLOAT_TYPES:
        return None
    if node.op_type == "Relu":
        return node.input[0], Limits(low=0.0)
    if node.op_type == "Clip":
        bounds = [-np.inf, np.inf]
        for position, name in enumerate(node.input[1:]):
            array = graph.constant(name)
            if name and (array is None or array.size != 1):
                return None
            if array is not None:
                bounds[position] = float(array.reshape(-1)[0])
        return (node.input[0], Limits(*bounds)) if bounds[0] <= bounds[1] else None
    varying = [name for name in node.input if not graph.is_constant(name)]
    if len(node.input) != 2 or len(varying) != 1:
        return None
    constant = graph.constant(next(name for name in node.input if name != varying[0]))
    rank = graph.rank(varying[0])
    if constant is None or constant.size != 1 or constant.ndim > (rank or 0):
        return None
    bound = float(constant.reshape(-1)[0])
    if np.isnan(bound):
        return None
    return varying[0], Limits(low=bound) if node.op_type == "Max" else Limits(high=bound)


def _clip(graph: EditableGraph, node: onnx.NodeProto, x: str, limits: Limits) -> onnx.NodeProto:
    """A Relu, or else a Clip, with the name and the output of a node."""
    if limits == Limits(low=0.0):
        return helper.make_node("Relu", [x], node.output, node.name)
    dtype = helper.tensor_dtype_to_np_dtype(graph.dtype(node.output[0]))
    inputs = [x]
    for key, bound in limits._asdict().items():
        name = ""
        if np.isfinite(bound):
            kind = "min" if key == "low" else "max"
            name = graph.add_constant(np.array(bound, dtype), f"{node.output[0]}_{kind}")
        inputs.append(name)
    while not inputs[-1]:
        inputs.pop()
    return helper.make_node("Clip", inputs, node.output, node.name)

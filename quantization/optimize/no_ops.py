"""Nodes that give what they are given."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import onnx

from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute

Rule: TypeAlias = Callable[[EditableGraph, onnx.NodeProto], bool]


def remove_no_ops(model: onnx.ModelProto) -> onnx.ModelProto:
    """Nodes whose output equals their first input go: Identity, Dropout, and others like them.

    Cast to the type that the value has, Reshape to its shape, Transpose in order, Pad by nothing,
    Concat and Sum of one value, Clip without limits, and arithmetic with 0 or 1.
    """
    graph = EditableGraph(model)
    for node in graph.nodes(*_RULES):
        used = [name for name in node.output[1:] if graph.is_used(name)]
        if not used and _RULES[node.op_type](graph, node):
            graph.bypass(node, node.input[0])
    return graph.model()


def _always(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    return True


def _single(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    return len(node.input) == 1


def _dropout(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return True
    training = graph.constant(node.input[2])
    return training is not None and not training.any()


def _cast(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    return bool(graph.dtype(node.input[0]) == attribute(node, "to"))


def _same_shape(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    return before is not None and before == after and None not in before


def _transpose(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    perm = attribute(node, "perm")
    return perm is not None and list(perm) == list(range(len(perm)))


def _pad(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    pads = graph.constant(node.input[1])
    return pads is not None and not pads.any()


def _clip(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    return not any(node.input[1:])


def _neutral(value: float) -> Rule:
    def rule(graph: EditableGraph, node: onnx.NodeProto) -> bool:
        constant, rank = graph.constant(node.input[1]), graph.rank(node.input[0])
        if constant is None or rank is None or constant.ndim > rank:
            return False
        return constant.size == 1 and bool(constant.reshape(-1)[0] == value)

    return rule


_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Identity": _always,
        "Dropout": _dropout,
        "Cast": _cast,
        "Reshape": _same_shape,
        "Flatten": _same_shape,
        "Expand": _same_shape,
        "Transpose": _transpose,
        "Pad": _pad,
        "Concat": _single,
        "Sum": _single,
        "Mean": _single,
        "Max": _single,
        "Min": _single,
        "Clip": _clip,
        "Add": _neutral(0),
        "Sub": _neutral(0),
        "Mul": _neutral(1),
        "Div": _neutral(1),
        "Pow": _neutral(1),
    }
)

"""What a graph computes from constants, and from shapes that are known, becomes constants."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.copies import Runner, copy_without
from furiosa_ep.quantization.optimize.editing import EditableGraph, subgraphs
from furiosa_ep.quantization.optimize.shape_values import shape_values
from furiosa_ep.quantization.samples import Array

MAX_BYTES = 1 << 29
"""How large a constant may become; beyond it, an Expand or ConstantOfShape says it more briefly."""

_NOT_FOLDED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Constant", "Dropout"}
    | {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {"Bernoulli", "Multinomial"}
)
"""Operators that stay although their inputs are constant: quantized weights, noise."""


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Nodes that depend on constants or known dims alone become initializers.

    ONNX Runtime computes them, in the order of the graph and without optimisations of its own.
    """
    return _fold_computed(_fold_shapes(model))


def _fold_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = EditableGraph(model)
    for name, elements in shape_values(graph).items():
        array, node = elements.array(), graph.producer(name)
        if array is not None and node is not None and not graph.is_output(name):
            dtype = helper.tensor_dtype_to_np_dtype(graph.dtype(name) or onnx.TensorProto.INT64)
            graph.make_constants(node, {name: array.astype(dtype)})
    return graph.model()


def _fold_computed(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = EditableGraph(model)
    computable = {id(node): node for node in _computable(graph)}
    targets = [
        node
        for node in computable.values()
        if any(
            graph.is_kept(name) or any(id(one) not in computable for one in graph.readers(name))
            for name in node.output
        )
    ]
    if not targets:
        return model
    found = _computed(model, graph, targets)
    for node in targets:
        used = [name for name in node.output if graph.is_used(name)]
        if all(name in found and found[name].nbytes <= MAX_BYTES for name in used):
            graph.make_constants(node, {name: found[name] for name in used})
            del computable[id(node)]
    for node in reversed(computable.values()):
        if not any(map(graph.is_used, node.output)):
            graph.remove(node)
    return graph.model()


def _computable(graph: EditableGraph) -> Iterable[onnx.NodeProto]:
    known: set[str] = set()
    for node in graph.nodes():
        inputs = list(filter(None, node.input))
        if (
            inputs
            and all(name in known or graph.is_constant(name) for name in inputs)
            and not node.domain
            and node.op_type not in _NOT_FOLDED
            and not any(subgraphs(node))
            and not any(graph.is_output(name) for name in node.output)
        ):
            known.update(node.output)
            yield node


def _computed(
    model: onnx.ModelProto, graph: EditableGraph, targets: Sequence[onnx.NodeProto]
) -> Mapping[str, Array]:
    """The outputs of the targets; without those that ONNX Runtime cannot compute."""
    unused = {"node", "initializer", "input", "output", "value_info", "quantization_annotation"}
    part = copy_without(model, *unused)
    needed: dict[int, onnx.NodeProto] = {}
    pending = list(targets)
    while pending:
        node = pending.pop()
        if id(node) not in needed:
            needed[id(node)] = node
            producers = (graph.producer(name) for name in node.input)
            pending.extend(one for one in producers if one is not None)
    part.graph.node.extend(node for node in graph.nodes() if id(node) in needed)
    read = {name for node in needed.values() for name in node.input}
    part.graph.initializer.extend(one for one in model.graph.initializer if one.name in read)
    names = [name for node in targets for name in node.output if graph.is_used(name)]
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    try:
        arrays = Runner(part).run({})
    except Exception as error:  # onnxruntime's exceptions have no common base
        if len(targets) == 1:
            logging.getLogger(__name__).debug("%s is not folded: %s", names, error)
            return {}
        each = [_computed(model, graph, [target]) for target in targets]
        return {name: array for found in each for name, array in found.items()}
    return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}

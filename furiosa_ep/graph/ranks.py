"""Ranks that ONNX's shape inference leaves open, though they follow from the operators.

Behind a Reshape whose target is computed nothing is known of the shape, for ONNX; but the target
has as many elements as the result has dims. For that, the lengths of vectors count, too.
"""

import dataclasses
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph.node import Node, TensorType

Constant = Callable[[str], npt.NDArray[Any] | None]
Shape = tuple[int | str | None, ...]

_SAME_SHAPE = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Abs", "BatchNormalization", "Cast", "Clip", "Elu"}
    | {"Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log"}
    | {"LpNormalization", "Mish", "Neg", "Reciprocal", "Relu", "Sigmoid", "Softmax", "Softplus"}
    | {"Softsign", "Sqrt", "Tanh"}
)
_SAME_RANK = frozenset(
    {"AveragePool", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool"}
    | {"GlobalMaxPool", "MaxPool", "Pad", "Resize", "Slice", "SpaceToDepth", "Split", "Tile"}
    | {"Transpose", "Upsample"}
)
_BROADCAST = frozenset(
    {"Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum", "Where"}
)
_REDUCTION = frozenset({"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})


def complete_ranks(
    nodes: Iterable[Node], types: MutableMapping[str, TensorType], constant: Constant
) -> None:
    """Give the values in `types` of unknown rank the rank that follows from their producers.

    Vectors of unknown length get their length. `nodes` are in topological order; a value whose
    element type is unknown stays as it is.
    """

    def shape(name: str) -> Shape | None:
        return types[name].shape if name in types else None

    for node in nodes:
        for name in node.outputs:
            known = shape(name)
            if node.domain or name not in types or not (known is None or _is_open_vector(known)):
                continue
            inputs = [shape(one) for one in node.inputs]
            found = _output_shape(node, inputs, constant) if known is None else None
            if found is None or _is_open_vector(found):
                length = _vector_length(node, inputs, constant)
                found = found if length is None else (length,)
            if found is not None:
                types[name] = dataclasses.replace(types[name], shape=found)


def _is_open_vector(shape: Shape) -> bool:
    return len(shape) == 1 and not isinstance(shape[0], int)


def _output_shape(node: Node, shapes: list[Shape | None], constant: Constant) -> Shape | None:
    """The shape or at least the rank (a shape of None) of all outputs."""
    kind = node.op_type
    first = shapes[0] if shapes else None
    rank: int | None = None
    if kind in _SAME_SHAPE:
        return first
    if kind == "Reshape":
        target = shapes[1] if len(shapes) > 1 else None
        rank = target[0] if target and isinstance(target[0], int) else None
    elif kind in ("Flatten", "Gemm"):
        rank = 2
    elif kind in _BROADCAST or kind == "MatMul":
        ranks = [None if one is None else len(one) for one in shapes]
        known = [one for one in ranks if one is not None]
        # A vector in a MatMul is a matrix for the time being only.
        if known == ranks and (kind != "MatMul" or min(known) > 1):
            rank = max(known)
    elif first is None:
        return None
    elif kind in _SAME_RANK:
        rank = len(first)
    elif kind == "Gather" and shapes[1] is not None:
        rank = len(first) + len(shapes[1]) - 1
    elif kind == "Expand" and shapes[1] and isinstance(shapes[1][0], int):
        rank = max(len(first), shapes[1][0])
    elif kind in ("Squeeze", "Unsqueeze") or kind in _REDUCTION:
        rank = _changed_rank(node, len(first), constant)
    return None if rank is None else (None,) * rank


def _changed_rank(node: Node, rank: int, constant: Constant) -> int | None:
    if node.op_type in _REDUCTION and node.attributes.get("keepdims", 1):
        return rank
    axes = node.attributes.get("axes")
    if axes is None and node.input(1):
        axes = constant(node.input(1))
    if axes is None:
        return None
    count = int(np.size(axes))
    return rank + count if node.op_type == "Unsqueeze" else rank - count


def _vector_length(node: Node, shapes: list[Shape | None], constant: Constant) -> int | None:
    """The number of elements of an output, which is a vector."""
    first = shapes[0] if shapes else None
    if node.op_type == "Shape" and first is not None:
        return len(first[node.attributes.get("start", 0) : node.attributes.get("end")])
    lengths = [one[0] if one and len(one) == 1 else None for one in shapes]
    known = [one for one in lengths if isinstance(one, int)]
    if node.op_type == "Concat":
        return sum(known) if len(known) == len(lengths) else None
    if not lengths or not isinstance(lengths[0], int):
        return None
    if node.op_type in ("Cast", "Identity"):
        return lengths[0]
    if node.op_type == "Slice" and node.input(1):
        starts, ends = constant(node.input(1)), constant(node.input(2))
        steps = constant(node.input(4)) if node.input(4) else np.ones(1, np.int64)
        if starts is not None and ends is not None and steps is not None:
            bounds = (int(one.reshape(-1)[0]) for one in (starts, ends, steps))
            return len(range(lengths[0])[slice(*bounds)])
    return None

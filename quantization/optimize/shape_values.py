"""Integer vectors that a graph makes of shapes: what Reshape, Resize and Expand take."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import onnx

from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.optimize.shapes import Dim
from furiosa_ep.quantization.samples import Array

MAX_ELEMENTS = 64
MAX_LENGTH = 1 << 62
INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


class Elements(NamedTuple):
    """A vector, or a scalar, of integers; names and None stand for dims that are open."""

    dims: tuple[Dim, ...]
    is_scalar: bool = False

    def array(self) -> Array | None:
        """The integers, if all are known."""
        if not all(isinstance(dim, int) for dim in self.dims):
            return None
        return np.array(self.dims, np.int64).reshape(() if self.is_scalar else -1)


def shape_values(graph: EditableGraph) -> dict[str, Elements]:
    """What is known of the vectors that nodes make of shapes, by the name of the value."""
    known: dict[str, Elements] = {}
    for node in graph.nodes(*_RULES):
        found = _RULES[node.op_type](_Inputs(graph, node, known))
        if found is not None and len(found.dims) <= MAX_ELEMENTS:
            known[node.output[0]] = found
    return known


class _Inputs:
    """What a rule may ask about a node."""

    def __init__(
        self, graph: EditableGraph, node: onnx.NodeProto, known: Mapping[str, Elements]
    ) -> None:
        self.graph = graph
        self.node = node
        self._known = known

    def elements(self, position: int) -> Elements | None:
        """What is known of an input."""
        name = self.node.input[position]
        if name in self._known:
            return self._known[name]
        rank, dtype = self.graph.rank(name), self.graph.dtype(name)
        if rank not in (0, 1) or dtype not in INTEGERS:
            return None
        array = self.constant(position)
        if array is None or array.size > MAX_ELEMENTS:
            return None
        return Elements(tuple(array.reshape(-1).tolist()), rank == 0)

    def constant(self, position: int) -> Array | None:
        """An input that is an initializer."""
        inputs = self.node.input
        return self.graph.constant(inputs[position]) if position < len(inputs) else None

    def has(self, position: int) -> bool:
        """Whether the node has the input."""
        return position < len(self.node.input) and bool(self.node.input[position])


Rule: TypeAlias = Callable[[_Inputs], Elements | None]


def _shape(inputs: _Inputs) -> Elements | None:
    shape = inputs.graph.shape(inputs.node.input[0])
    if shape is None:
        return None
    start, end = attribute(inputs.node, "start", 0), attribute(inputs.node, "end", len(shape))
    return Elements(shape[start:end])


def _size(inputs: _Inputs) -> Elements | None:
    shape = inputs.graph.shape(inputs.node.input[0])
    lengths = [dim for dim in shape or () if isinstance(dim, int)]
    if shape is None or len(lengths) < len(shape):
        return None
    return Elements((int(np.prod(lengths, dtype=np.int64)),), True)


def _gather(inputs: _Inputs) -> Elements | None:
    source, indices = inputs.elements(0), inputs.constant(1)
    if source is None or source.is_scalar or indices is None or indices.ndim > 1:
        return None
    places = indices.reshape(-1).tolist()
    if not all(-len(source.dims) <= place < len(source.dims) for place in places):
        return None
    return Elements(tuple(source.dims[place] for place in places), indices.ndim == 0)


def _slice(inputs: _Inputs) -> Elements | None:
    source, starts, ends = inputs.elements(0), inputs.constant(1), inputs.constant(2)
    if source is None or source.is_scalar or starts is None or ends is None or starts.size != 1:
        return None
    steps = inputs.constant(4)
    if inputs.has(4) and (steps is None or steps.item() < 1):
        return None
    step = 1 if steps is None else steps.item()
    return Elements(source.dims[starts.item() : ends.item() : step])


def _concat(inputs: _Inputs) -> Elements | None:
    dims: tuple[Dim, ...] = ()
    for position in range(len(inputs.node.input)):
        part = inputs.elements(position)
        if part is None:
            length = inputs.graph.shape(inputs.node.input[position])
            if length is None or len(length) != 1 or not isinstance(length[0], int):
                return None
            part = Elements((None,) * length[0])
        dims += part.dims
    return Elements(dims)


def _same(inputs: _Inputs) -> Elements | None:
    return inputs.elements(0)


def _cast(inputs: _Inputs) -> Elements | None:
    return inputs.elements(0) if attribute(inputs.node, "to") in INTEGERS else None


def _unsqueeze(inputs: _Inputs) -> Elements | None:
    source = inputs.elements(0)
    return Elements(source.dims) if source is not None and source.is_scalar else None


def _squeeze(inputs: _Inputs) -> Elements | None:
    source = inputs.elements(0)
    if source is None or source.is_scalar or len(source.dims) != 1:
        return None
    return Elements(source.dims, True)


def _arithmetic(compute: Callable[[int, int], int | None]) -> Rule:
    def rule(inputs: _Inputs) -> Elements | None:
        a, b = inputs.elements(0), inputs.elements(1)
        if a is None or b is None:
            return None
        count = max(len(a.dims), len(b.dims))
        if not {len(a.dims), len(b.dims)} <= {1, count}:
            return None
        pairs = zip(a.dims * (count // len(a.dims)), b.dims * (count // len(b.dims)), strict=True)
        dims = []
        for x, y in pairs:
            found = compute(x, y) if isinstance(x, int) and isinstance(y, int) else None
            dims.append(found if found is not None and abs(found) < MAX_LENGTH else None)
        return Elements(tuple(dims), a.is_scalar and b.is_scalar)

    return rule


def _quotient(a: int, b: int) -> int | None:
    return a // b if a >= 0 and b > 0 else None  # below 0, ONNX rounds towards it


_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Shape": _shape,
        "Size": _size,
        "Gather": _gather,
        "Slice": _slice,
        "Concat": _concat,
        "Identity": _same,
        "Cast": _cast,
        "Unsqueeze": _unsqueeze,
        "Squeeze": _squeeze,
        "Add": _arithmetic(lambda a, b: a + b),
        "Sub": _arithmetic(lambda a, b: a - b),
        "Div": _arithmetic(_quotient),
        "Mul": _arithmetic(lambda a, b: a * b),
    }
)

"""Values that follow from shapes alone: what Reshape, Slice and Resize of dynamic models take."""

import weakref
from collections.abc import MutableMapping

from furiosa_ep.graph import Graph, Node
from furiosa_ep.program import DType

FOLDABLE = frozenset(
    {"Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand"}
    | {"Flatten", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less"}
    | {"LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax"}
    | {"ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "Slice", "Split", "Sqrt"}
    | {"Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"}
)
"""Operators that the compiler evaluates where all inputs are known."""

SHAPE_READERS = frozenset({"Shape", "Size"})
"""Operators whose result depends on nothing but the shape of their input."""

_PROGRAM_DTYPES = frozenset(int(dtype) for dtype in DType)

_known: MutableMapping[Graph, frozenset[str]] = weakref.WeakKeyDictionary()


def shape_values(graph: Graph) -> frozenset[str]:
    """The values that are no constants, but known as soon as the graph's input shapes are."""
    if graph not in _known:
        values: set[str] = set()
        for node in graph.nodes:
            if _follows(node, graph, values):
                values.update(filter(None, node.outputs))
        _known[graph] = frozenset(values)
    return _known[graph]


def known_at_compile_time(graph: Graph, name: str) -> bool:
    """Whether a value is a constant or follows from shapes alone."""
    return graph.is_constant(name) or name in shape_values(graph)


def _follows(node: Node, graph: Graph, values: set[str]) -> bool:
    if node.domain:
        return False
    if node.op_type in SHAPE_READERS:
        # What the NPU measures may be an input of its Program, which has types of its own.
        dtype = graph.dtype(node.input(0))
        return dtype is None or dtype in _PROGRAM_DTYPES
    return (
        node.op_type in FOLDABLE
        and any(node.inputs)
        and all(not name or name in values or graph.is_constant(name) for name in node.inputs)
    )

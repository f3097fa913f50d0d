"""Elementwise chains: float operators between DequantizeLinear and QuantizeLinear nodes.

ONNX Runtime does not fuse them. A function of one 8-bit value is a table, whatever it computes. Of
several values only what the code of an Expression can say is possible.
"""

from collections.abc import Iterator

import numpy as np

from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.operators.emitting import lookup, reshape
from furiosa_ep.partitioner.operators.expressions import (
    CODE,
    MAX_OPERANDS,
    MAX_WORDS,
    Code,
    Expression,
    is_arithmetic,
)
from furiosa_ep.partitioner.operators.rules import (
    quantized_inputs,
    quantized_output,
    representable,
    usable_scales,
)
from furiosa_ep.partitioner.quantization import dequantized, is_dequantize, is_quantize
from furiosa_ep.partitioner.support import (
    CHAIN,
    Builder,
    DeclineCode,
    NodeUnit,
    Operand,
    OperatorSupport,
    constraint,
)


def operators(unit: NodeUnit) -> list[Node]:
    """The nodes of the chain between its DequantizeLinear and QuantizeLinear nodes."""
    return [node for node in unit.nodes if not (is_quantize(node) or is_dequantize(node))]


def varying_axes(unit: NodeUnit, graph: Graph) -> set[int] | None:
    """The axes, counted from the last (-1), along which constants of the chain differ.

    None where a constant changes the value's shape, or may do so.
    """
    shape = graph.shape(unit.inputs[0].name)
    axes: set[int] = set()
    for constant in _constants(unit, graph):
        dims = graph.shape(constant) or ()
        for axis in range(-len(dims), 0):
            if dims[axis] == 1:
                continue
            if shape is None or -axis > len(shape) or shape[axis] != dims[axis]:
                return None
            axes.add(axis)
    return axes


def _constants(unit: NodeUnit, graph: Graph) -> Iterator[str]:
    """The constants that the operators read, as they are or dequantized."""
    sources = {node.outputs[0]: node.inputs[0] for node in unit.nodes if is_dequantize(node)}
    for node in operators(unit):
        for name in node.inputs:
            source = sources.get(name, name)
            if graph.is_constant(source):
                yield source


def _is_one_value(unit: NodeUnit) -> bool:
    return len({one.name for one in unit.inputs}) == 1


def table_axis(unit: NodeUnit, graph: Graph) -> tuple[bool, int | None]:
    """Whether the chain is a table, and the axis (from the last) that selects among several."""
    axes = varying_axes(unit, graph) if _is_one_value(unit) else None
    if axes is None or len(axes) > 1:
        return False, None
    return True, next(iter(axes), None)


@constraint(DeclineCode.NO_KERNEL, "Quantize the values between these operators.")
def one_value_or_arithmetic(unit: NodeUnit, graph: Graph) -> str | None:
    """Float operators between QDQ must be one value's function, or arithmetic on up to 4 values.

    A function of one 8-bit value may have constants that differ along one axis. Arithmetic is Add,
    Sub, Mul, Div, Min, Max, Sum, Mean, Neg, Abs, Sqrt, Relu and Clip.
    """
    if table_axis(unit, graph)[0]:
        return None
    nodes = operators(unit)
    others = sorted({node.op_type for node in nodes if not is_arithmetic([node])})
    values = f"{len({one.name for one in unit.inputs})} values"
    if others:
        return f"{values} and {', '.join(others)}"
    words = _words(unit, graph)
    constants = sum(any(d != 1 for d in graph.shape(c) or ()) for c in _constants(unit, graph))
    if len(unit.inputs) + constants > MAX_OPERANDS or words > MAX_WORDS:
        return f"{values}, {constants} constants that are no scalars, {words} steps"
    return None


def _words(unit: NodeUnit, graph: Graph) -> int:
    """How long the code of the longest result is."""
    lengths: dict[str, int] = {}
    for node in operators(unit):
        codes: list[Code] = [
            ((0, 0),) * (lengths.get(name, 1) if name else 0) for name in node.inputs
        ]
        lengths[node.outputs[0]] = len(CODE[node.op_type](node, codes))
    return max(lengths.values(), default=1)


def lower(unit: NodeUnit, builder: Builder) -> None:
    """A Lookup or an Expression for each result."""
    is_table, axis = table_axis(unit, builder.graph)
    if not is_table:
        _lower_expressions(unit, builder)
        return
    x = builder.value(unit.inputs[0])
    channel_axis = None if axis is None else len(x.shape) + axis
    rank = max(
        (len(builder.graph.shape(c) or ()) for c in _constants(unit, builder.graph)), default=0
    )
    for position, output in enumerate(unit.outputs):
        signed = output.params is not None and output.params.signed
        y = lookup(x, builder.table(unit, channel_axis, position), signed, builder)
        # A constant with more dims gives the result leading dims of 1.
        shape = (1,) * (rank - len(x.shape)) + x.shape
        builder.set(output, reshape(y, shape, builder))


def _lower_expressions(unit: NodeUnit, builder: Builder) -> None:
    graph = builder.graph
    results = {node.outputs[0]: node.inputs[0] for node in unit.nodes if is_quantize(node)}
    leaves = {
        node.outputs[0]: dequantized(graph, node) for node in unit.nodes if is_dequantize(node)
    }
    for output in unit.outputs:
        expression = Expression(builder)
        codes: dict[str, Code] = {"": ()}
        shapes: dict[str, tuple[int, ...]] = {"": ()}
        for node in _needed(unit, results[output.name]):
            for name in node.inputs:
                if name not in codes:
                    leaf = leaves.get(name, Operand(name, None))
                    codes[name], shapes[name] = expression.push(leaf), builder.value(leaf).shape
            (result,) = node.outputs
            codes[result] = CODE[node.op_type](node, [codes[name] for name in node.inputs])
            shapes[result] = np.broadcast_shapes(*(shapes[name] for name in node.inputs))
        source = results[output.name]
        builder.set(output, expression.emit(codes[source], output.params, shapes[source]))


def _needed(unit: NodeUnit, result: str) -> list[Node]:
    """The operators that a result depends on, in topological order."""
    wanted = {result}
    needed = []
    for node in reversed(operators(unit)):
        if node.outputs[0] in wanted:
            needed.append(node)
            wanted.update(node.inputs)
    return needed[::-1]


SUPPORT = (
    OperatorSupport(
        CHAIN[1],
        lower,
        (
            quantized_inputs(),
            quantized_output,
            usable_scales,
            one_value_or_arithmetic,
            representable,
        ),
        domain=CHAIN[0],
    ),
)

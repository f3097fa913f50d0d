"""What the memories of a target demand of node units and of partitions.

A unit is computed tile by tile in SRAM; a tile can be as small as a line of results, but what those
depend on must be there at once. Constants, inputs and outputs must lie in DRAM. Where shapes are
open, the compiler checks the same when they are known.
"""

import math
from collections.abc import Callable, Iterable, Mapping

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing import PARAMETERS
from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit, Operand

Shape = tuple[int, ...]
Count = Callable[[NodeUnit, Graph], int]

_FILTERS = 4
"""Those that the device multiplies a line of values by at a time."""


def unit_decline(unit: NodeUnit, graph: Graph, target: Target) -> Decline | None:
    """Why a unit fits into the memories of a target in no way; None where it does."""
    sram = target.sram_bytes * target.pes
    count = None if unit.fused else _TILES.get(unit.node.op_type.removeprefix("QLinear"))
    tile = count(unit, graph) if count else 0
    if tile > sram:
        return Decline(
            DeclineCode.MEMORY_LIMIT,
            "The smallest tile of an operator, what a line of results depends on, must fit into "
            f"the SRAM of the target: {sram} bytes of {target.name}. Found: {tile} bytes.",
            "Split the operator along the axis that it sums over, or let it stay on the CPU.",
        )
    size = sum(_bytes(one.name, graph) for one in (*unit.inputs, *unit.outputs))
    if size > target.dram_bytes:
        return Decline(
            DeclineCode.MEMORY_LIMIT,
            "What an operator reads and writes must fit into the DRAM of the target: "
            f"{target.dram_bytes} bytes of {target.name}. Found: {size} bytes.",
            "Run it on smaller inputs or batches.",
        )
    return None


def partition_decline(units: Iterable[NodeUnit], graph: Graph, target: Target) -> Decline | None:
    """Why the constants of a partition do not fit into the DRAM of a target."""
    names = {one.name for unit in units for one in unit.inputs if graph.is_constant(one.name)}
    size = sum(_bytes(name, graph) for name in names)
    if size <= target.dram_bytes:
        return None
    return Decline(
        DeclineCode.MEMORY_LIMIT,
        f"The weights of a partition must fit into the DRAM of the target: {target.dram_bytes} "
        f"bytes of {target.name}. Found: {size} bytes.",
        "Split the model into several, each with a session of its own.",
    )


def _bytes(name: str, graph: Graph) -> int:
    """The size of a value; 0 where that is not known."""
    known = graph.types.get(name)
    return 0 if known is None else known.size


def _shape(name: str, graph: Graph) -> Shape | None:
    shape = graph.shape(name)
    dims = tuple(dim for dim in shape or () if isinstance(dim, int))
    return dims if shape is not None and len(dims) == len(shape) else None


def _operand(unit: NodeUnit, graph: Graph, position: int = 0) -> Shape:
    operands: tuple[Operand, ...] = unit.inputs
    return (_shape(operands[position].name, graph) or ()) if position < len(operands) else ()


def _tile(unit: NodeUnit, graph: Graph, taps: int, filters: int) -> int:
    """A line of results of a few filters: as the timing model has it, or a little more."""
    filters = min(filters, _FILTERS)
    read = min(_bytes(unit.inputs[0].name, graph), taps * PARAMETERS.line)
    return read + taps * filters + PARAMETERS.line * filters


def _convolution(unit: NodeUnit, graph: Graph) -> int:
    weights = _operand(unit, graph, 3 if unit.node.op_type.startswith("QLinear") else 1)
    if not weights:
        return 0
    groups = int(unit.node.attributes.get("group", 1))
    return _tile(unit, graph, math.prod(weights[1:]), weights[0] // groups)


def _transposed_convolution(unit: NodeUnit, graph: Graph) -> int:
    weights = _operand(unit, graph, 1)
    if not weights:
        return 0
    groups = int(unit.node.attributes.get("group", 1))
    return _tile(unit, graph, weights[0] // groups, math.prod(weights[1:]))


def _product(unit: NodeUnit, graph: Graph) -> int:
    shape, result = _operand(unit, graph), _shape(unit.outputs[0].name, graph)
    if not shape or not result:
        return 0
    depth = shape[0 if unit.node.attributes.get("transA") else -1]
    return _tile(unit, graph, depth, result[-1])


def _along_axis(unit: NodeUnit, graph: Graph) -> int:
    """What Softmax reads, and what it makes of that: all results depend on all values."""
    shape = _operand(unit, graph)
    axis = int(unit.node.attributes.get("axis", -1 if unit.node.opset >= 13 else 1))
    if not shape or not -len(shape) <= axis < len(shape):
        return 0
    flattens = unit.node.op_type == "Softmax" and unit.node.opset < 13
    return 2 * (math.prod(shape[axis:]) if flattens else shape[axis])


def _image(unit: NodeUnit, graph: Graph) -> int:
    return math.prod(_operand(unit, graph)[2:])


def _window(unit: NodeUnit, graph: Graph) -> int:
    return _tile(unit, graph, math.prod(unit.node.attributes.get("kernel_shape", ())), 1)


def _reduced(unit: NodeUnit, graph: Graph) -> int:
    """The values that each result is reduced of."""
    result = _shape(unit.outputs[0].name, graph) if unit.outputs else None
    return math.prod(_operand(unit, graph)) // max(1, math.prod(result)) if result else 0


_TILES: Mapping[str, Count] = {
    **dict.fromkeys(("Conv", "ConvInteger"), _convolution),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "QGemm"), _product),
    **dict.fromkeys(("Softmax", "LpNormalization"), _along_axis),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _image),
    **dict.fromkeys(("AveragePool", "MaxPool"), _window),
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduced),
}
"""The bytes of the smallest tile, for operators whose results depend on more than a few values."""

"""What the memories of a target demand of node units and of partitions.

A unit is computed tile by tile in SRAM; a tile can be as small as a line of results, but what those
depend on must be there at once. Constants, inputs and outputs must lie in DRAM. Where shapes are
open, the compiler checks the same when they are known.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing import PARAMETERS, bytes_at_once
from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit, Operand

Shape = tuple[int, ...]
Count = Callable[[NodeUnit, Graph], int]

_EXPANSION = 4
"""The compiler makes no partition so many times as large as its constants and values are, by their
layout and by values between those of the model,"""
_OF_A_UNIT = 64 << 10
"""and each unit so much besides, with tables and the like."""


def unit_decline(unit: NodeUnit, graph: Graph, target: Target) -> Decline | None:
    """Why a unit fits into the memories of a target in no way; None where it does."""
    sram = target.sram_bytes * target.pes
    tile = _smallest_tile(unit, graph)
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


def is_near_sram(unit: NodeUnit, graph: Graph, target: Target) -> bool:
    """Whether a unit may not fit where the compiler fuses something with it."""
    tile = max(_smallest_tile(unit, graph), PARAMETERS.tile_filters * PARAMETERS.line)
    return tile * _EXPANSION > target.sram_bytes * target.pes


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


@dataclass(frozen=True)
class DramNeed:
    """What a partition takes of DRAM, in bytes."""

    constants: int
    borders: int
    """Inputs and outputs."""
    spilled: int
    """Values inside, of what is there at a time beyond SRAM."""
    total: int
    most: int
    """What it takes if the compiler makes as much of it as it ever does."""


def dram_need(
    units: Sequence[NodeUnit], graph: Graph, target: Target, alone: Mapping[NodeUnit, int]
) -> DramNeed:
    """An estimate of what a partition takes of DRAM; values of open shapes take nothing.

    Args:
        units: of the partition, in topological order.
        graph: the whole graph.
        target: with its SRAM.
        alone: what some units have taken where they were compiled alone.
    """
    inside = {node.index for unit in units for node in unit.nodes}
    constants: set[str] = set()
    read: dict[str, int] = {}
    written: dict[str, int] = {}
    beyond = 0
    for position, unit in enumerate(units):
        names = {one.name for one in unit.inputs if one.name}
        fixed = {name for name in names if graph.is_constant(name)}
        results = {one.name for one in unit.outputs if one.name}
        constants |= fixed
        read.update(dict.fromkeys(names - fixed, position))
        written.update(dict.fromkeys(results, position))
        if unit in alone:
            beyond += max(0, alone[unit] - sum(_bytes(name, graph) for name in names | results))
    results_of_all = frozenset(graph.outputs)
    borders = {name for name in read if name not in written}
    borders |= {
        name
        for name in written
        if name in results_of_all or any(one.index not in inside for one in graph.consumers(name))
    }
    kept = [name for name in written if name not in borders]
    spans = [(written[name], read.get(name, written[name])) for name in kept]
    room = int(target.sram_bytes * target.pes * (1 - PARAMETERS.streaming_share))
    spilled = max(0, bytes_at_once(spans, [_bytes(name, graph) for name in kept]) - room)
    fixed_bytes = sum(_bytes(name, graph) for name in constants)
    moved = sum(_bytes(name, graph) for name in borders)
    total = fixed_bytes + moved + spilled + beyond
    most = _EXPANSION * total + _OF_A_UNIT * len(units)
    return DramNeed(fixed_bytes, moved, spilled, total, most)


def dram_decline(need: DramNeed, size: int, left: int, target: Target) -> Decline:
    """Why a partition that takes `size` bytes does not fit into what others have left of DRAM."""
    before = target.dram_bytes - left
    others = f" Partitions before it take {before} bytes." if before else ""
    return Decline(
        DeclineCode.MEMORY_LIMIT,
        f"The partitions of a model must fit into the DRAM of the target together: "
        f"{target.dram_bytes} bytes of {target.name}. Found: {size} bytes of one that holds this "
        f"operator ({need.constants} of constants, {need.borders} of inputs and outputs, "
        f"{need.spilled} at a time of values that SRAM has no room for).{others}",
        "Run it on smaller inputs or batches, or split the model.",
    )


def _smallest_tile(unit: NodeUnit, graph: Graph) -> int:
    """Its bytes, where the results of the unit depend on more than a few values; otherwise 0."""
    count = None if unit.fused else _TILES.get(unit.node.op_type.removeprefix("QLinear"))
    return count(unit, graph) if count else 0


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
    filters = min(filters, PARAMETERS.tile_filters)
    names = [one.name for one in unit.inputs if not graph.is_constant(one.name)]
    read = min(sum(_bytes(name, graph) for name in names), taps * PARAMETERS.line)
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
    if not shape or result is None:
        return 0
    depth = shape[0 if unit.node.attributes.get("transA") else -1]
    return _tile(unit, graph, depth, result[-1] if result else 1)


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


def _whole_window(unit: NodeUnit, graph: Graph) -> int:
    return _tile(unit, graph, _image(unit, graph), 1)


def _window(unit: NodeUnit, graph: Graph) -> int:
    return _tile(unit, graph, math.prod(unit.node.attributes.get("kernel_shape", ())), 1)


def _reduced(unit: NodeUnit, graph: Graph) -> int:
    """The values that each result is reduced of."""
    result = _shape(unit.outputs[0].name, graph) if unit.outputs else None
    if result is None:
        return 0
    return math.prod(_operand(unit, graph)) // max(1, math.prod(result))


_TILES: Mapping[str, Count] = {
    **dict.fromkeys(("Conv", "ConvInteger"), _convolution),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "QGemm"), _product),
    **dict.fromkeys(("Softmax", "LpNormalization"), _along_axis),
    "GlobalAveragePool": _image,
    "GlobalMaxPool": _whole_window,
    **dict.fromkeys(("AveragePool", "MaxPool"), _window),
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduced),
}
"""The bytes of the smallest tile, for operators whose results depend on more than a few values."""

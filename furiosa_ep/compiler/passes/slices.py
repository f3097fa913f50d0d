"""Neighbouring slices that are concatenated again are one slice."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from furiosa_ep.compiler.opcodes import operand
from furiosa_ep.compiler.passes.uses import Uses
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table


class _Piece(NamedTuple):
    """An operand of a Concat that is a slice along its axis, looked up in a table or as it is."""

    source: DeviceValue
    start: int
    end: int
    table: Table | None


def join_slices(graph: DeviceGraph) -> None:
    """Where a Concat puts slices of one value back side by side, read them as one slice.

    Each may be looked up in a table, if the tables are equal: the halves of a Split that a detector
    concatenates again, requantised, are moved together.
    """
    uses = Uses.of(graph)
    operations = []
    for operation in graph.operations:
        if operation.kind == "Concat":
            operations += _joined(operation, uses)
        operations.append(operation)
    graph.operations = operations


def _joined(concat: Operation, uses: Uses) -> list[Operation]:
    """Join operands of `concat`; what it reads now, to run before it."""
    axis = concat.attributes["axis"] % len(concat.output.shape)
    values = [operand(concat, position) for position in range(len(concat.inputs))]
    pieces = [_piece(value, axis, uses) for value in values]
    ends = [i for i, pair in enumerate(pairwise(pieces), 1) if not _neighbours(*pair)]
    if len(ends) == len(pieces) - 1:
        return []
    made: list[Operation] = []
    concat.inputs = []
    for begin, end in pairwise([0, *ends, len(pieces)]):
        first, last = pieces[begin], pieces[end - 1]
        if end - begin == 1 or first is None or last is None:
            concat.inputs.append(values[begin])
            continue
        whole = first._replace(end=last.end)
        concat.inputs.append(_read(whole, axis, values[begin], concat.name, made))
    return made


def _piece(value: DeviceValue, axis: int, uses: Uses) -> _Piece | None:
    table = None
    producer = uses.producers.get(value)
    if producer is not None and producer.kind == "Lookup":
        table = producer.attributes["table"]
        if table.channel_axis is not None:
            return None
        producer = uses.producers.get(operand(producer))
    if producer is None or producer.kind != "Slice":
        return None
    source, sliced = operand(producer), producer.output
    start = producer.attributes["starts"][axis]
    others = [i for i in range(len(source.shape)) if i != axis]
    if producer.attributes["steps"][axis] != 1 or any(
        producer.attributes["starts"][i] != 0 or sliced.shape[i] != source.shape[i] for i in others
    ):
        return None
    return _Piece(source, start, start + sliced.shape[axis], table)


def _neighbours(one: _Piece | None, other: _Piece | None) -> bool:
    if one is None or other is None or one.source is not other.source or one.end != other.start:
        return False
    if one.table is None or other.table is None:
        return one.table is other.table
    return np.array_equal(one.table.values, other.table.values)


def _read(
    piece: _Piece, axis: int, like: DeviceValue, name: str, made: list[Operation]
) -> DeviceValue:
    """The value of a piece, by operations that are added to `made`; of the type of `like`."""
    value, shape = piece.source, list(piece.source.shape)
    if (piece.start, piece.end) != (0, shape[axis]):
        starts = [0] * len(shape)
        starts[axis], shape[axis] = piece.start, piece.end - piece.start
        value = DeviceValue(f"{name} slice", value.dtype, tuple(shape), signed=value.signed)
        attributes = {"starts": tuple(starts), "steps": (1,) * len(shape)}
        made.append(Operation("Slice", [piece.source], [value], attributes, name))
    if piece.table is not None:
        source = value
        value = DeviceValue(f"{name} lookup", like.dtype, tuple(shape), signed=like.signed)
        made.append(Operation("Lookup", [source], [value], {"table": piece.table}, name))
    return value

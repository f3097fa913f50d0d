"""Tables: one after the other is one, and one behind an operation goes into its epilogue."""

import numpy as np

from furiosa_ep.compiler.opcodes import CHANNELS_LAST, has_table, operand
from furiosa_ep.compiler.passes.uses import Uses
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table
from furiosa_ep.program import DType

_VIEWS = frozenset({"Reshape", "Transpose", "Slice", "Expand"})
"""Kinds that a lookup may be done before as well as after."""


def compose(first: Table, second: Table) -> Table | None:
    """The table of `second` after `first`; None where their channels are of different axes."""
    axes = {table.channel_axis for table in (first, second) if table.channel_axis is not None}
    if len(axes) > 1:
        return None

    def fill() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        inner, outer = first.values, second.values
        if outer.ndim == 1:
            return outer[inner]
        if inner.ndim == 1:
            return outer[:, inner]
        return np.take_along_axis(outer, inner.astype(np.intp), 1)

    return Table(fill, next(iter(axes), None))


def compose_tables(graph: DeviceGraph) -> None:
    """Make one lookup of two where nothing else reads what is between them."""
    uses = Uses.of(graph)
    dead = []
    for operation in graph.operations:
        if operation.kind != "Lookup":
            continue
        before = uses.only_producer(operand(operation))
        if before is None or before.kind != "Lookup":
            continue
        table = compose(before.attributes["table"], operation.attributes["table"])
        if table is not None:
            operation.inputs = before.inputs
            operation.attributes = {**operation.attributes, "table": table}
            operation.name = _joined(before, operation)
            dead.append(before)
    graph.remove(dead)


def fuse_tables(graph: DeviceGraph) -> None:
    """Move a lookup into the epilogue of the operation that computes its input, through movements
    of data in between, where nothing else reads the values on the way.
    """
    uses = Uses.of(graph)
    lookups = [operation for operation in graph.operations if operation.kind == "Lookup"]
    graph.remove([lookup for lookup in lookups if _fuse(lookup, uses)])


def _fuse(lookup: Operation, uses: Uses) -> bool:
    table: Table = lookup.attributes["table"]
    between: list[DeviceValue] = []
    source = operand(lookup)
    producer = uses.only_producer(source)
    while producer is not None and producer.kind in _VIEWS and table.channel_axis is None:
        between.append(source)
        source = operand(producer)
        producer = uses.only_producer(source)
    if producer is None or not _takes(producer, table):
        return False
    slot = "residual_table" if "residual" in producer.attributes else "table"
    before = producer.attributes.get(slot)
    fused = table if before is None else compose(before, table)
    if fused is None:
        return False
    producer.attributes = {**producer.attributes, slot: fused}
    producer.name = _joined(producer, lookup)
    for value in (source, *between):
        value.dtype, value.signed = lookup.output.dtype, lookup.output.signed
    last = uses.producers[between[0]] if between else producer
    last.outputs = [lookup.output]
    uses.producers[lookup.output] = last
    return True


def _takes(producer: Operation, table: Table) -> bool:
    if not has_table(producer.kind) or producer.output.dtype == DType.F32:
        return False
    return table.channel_axis is None or (
        producer.kind in CHANNELS_LAST and table.channel_axis % len(producer.output.shape) == 1
    )


def _joined(first: Operation, second: Operation) -> str:
    return first.name if first.name == second.name else f"{first.name} + {second.name}"

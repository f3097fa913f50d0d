"""Tables: one after the other is one, and one behind an operation goes into its epilogue."""

import numpy as np

from furiosa_ep.compiler.opcodes import CHANNELS_LAST, has_table, operand
from furiosa_ep.compiler.passes.uses import Uses
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table
from furiosa_ep.program import DType

_THROUGH = frozenset({"Reshape", "Transpose", "Slice", "Expand", "Concat", "Pad"})
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
    """Move a lookup into the epilogues of the operations that compute its input, through movements
    of data in between, where nothing else reads the values on the way.
    """
    uses = Uses.of(graph)
    lookups = [operation for operation in graph.operations if operation.kind == "Lookup"]
    dead = []
    for lookup in lookups:
        source, table = operand(lookup), lookup.attributes["table"]
        if not _absorbs(source, table, uses):
            continue
        _absorb(source, lookup, uses)
        last = uses.producers[source]
        last.outputs = [lookup.output]
        uses.producers[lookup.output] = last
        dead.append(lookup)
    graph.remove(dead)


def _absorbs(value: DeviceValue, table: Table, uses: Uses) -> bool:
    """Whether what computes a value can look it up in a table at once."""
    producer = uses.only_producer(value)
    if producer is None:
        return False
    if producer.kind in _THROUGH and table.channel_axis is None:
        # A value that is concatenated with itself has two uses and stops here.
        return all(_absorbs(one, table, uses) for one in producer.inputs if one is not None)
    if _takes(producer, table):
        return _fused(producer, table) is not None
    return False


def _absorb(value: DeviceValue, lookup: Operation, uses: Uses) -> None:
    producer = uses.producers[value]
    table: Table = lookup.attributes["table"]
    value.dtype, value.signed = lookup.output.dtype, lookup.output.signed
    if producer.kind in _THROUGH:
        for one in producer.inputs:
            if one is not None:
                _absorb(one, lookup, uses)
        if producer.kind == "Pad":
            padding = int(table.values[producer.attributes["value"]])
            producer.attributes = {**producer.attributes, "value": padding}
        return
    producer.attributes = {**producer.attributes, _slot(producer): _fused(producer, table)}
    producer.name = _joined(producer, lookup)


def _slot(producer: Operation) -> str:
    """Which of an operation's tables comes last."""
    return "residual_table" if "residual" in producer.attributes else "table"


def _fused(producer: Operation, table: Table) -> Table | None:
    """The last table of an operation with another one behind it."""
    before: Table | None = producer.attributes.get(_slot(producer))
    return table if before is None else compose(before, table)


def _takes(producer: Operation, table: Table) -> bool:
    if not has_table(producer.kind) or producer.output.dtype == DType.F32:
        return False
    return table.channel_axis is None or (
        producer.kind in CHANNELS_LAST and table.channel_axis % len(producer.output.shape) == 1
    )


def _joined(first: Operation, second: Operation) -> str:
    return first.name if first.name == second.name else f"{first.name} + {second.name}"

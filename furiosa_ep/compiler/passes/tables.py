"""Tables: one after the other is one, and one behind an operation goes into its epilogue."""

from collections import Counter

import numpy as np

from furiosa_ep.compiler.opcodes import CHANNELS_LAST, has_table, operand
from furiosa_ep.compiler.passes.cleanup import remove_dead_operations
from furiosa_ep.compiler.passes.uses import Uses, joined_name
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table
from furiosa_ep.program import DType

_THROUGH = frozenset({"Reshape", "Transpose", "Slice", "Expand", "Concat", "Pad"})
"""Kinds that a lookup may be done before as well as after."""


def compose(first: Table, second: Table) -> Table:
    """The table of `second` after `first`, whose channel axes must be compatible."""
    inner, outer = first.values, second.values
    if outer.ndim == 1:
        values = outer[inner]
    elif inner.ndim == 1:
        values = outer[:, inner]
    else:
        values = np.take_along_axis(outer, inner.astype(np.intp), 1)
    axis = first.channel_axis if second.channel_axis is None else second.channel_axis
    return Table(lambda: values, axis)


def compatible(first: Table | None, second: Table) -> bool:
    """Whether two tables, one after the other, are one: their channels are of the same axis."""
    axes = {None if first is None else first.channel_axis, second.channel_axis}
    return len(axes - {None}) <= 1


def compose_tables(graph: DeviceGraph) -> None:
    """Make one lookup of two where nothing but lookups reads what is between them."""
    uses = Uses.of(graph)
    readers = Counter(operand(one) for one in graph.operations if one.kind == "Lookup")
    for operation in graph.operations:
        if operation.kind != "Lookup":
            continue
        between = operand(operation)
        before = uses.producers.get(between)
        if before is None or before.kind != "Lookup" or readers[between] != uses.count(between):
            continue
        tables = before.attributes["table"], operation.attributes["table"]
        if compatible(*tables):
            operation.inputs = before.inputs
            operation.attributes = {**operation.attributes, "table": compose(*tables)}
            operation.name = joined_name(before, operation)
    remove_dead_operations(graph)


def fuse_tables(graph: DeviceGraph) -> None:
    """Move lookups into the epilogues of the operations that compute their inputs.

    Also through movements of data in between, where nothing else reads the values on the way.
    """
    uses = Uses.of(graph)
    dead = []
    # The last one first, so that of many in a row each is moved once.
    for lookup in reversed(graph.operations):
        if lookup.kind != "Lookup":
            continue
        source = operand(lookup)
        values = _absorbing(source, lookup.attributes["table"], uses)
        if values is None:
            continue
        for value in values:
            value.dtype, value.signed = lookup.output.dtype, lookup.output.signed
            _absorb(uses.producers[value], lookup)
        last = uses.producers[source]
        last.outputs = [lookup.output]
        uses.producers[lookup.output] = last
        dead.append(lookup)
    graph.remove(dead)


def _absorbing(value: DeviceValue, table: Table, uses: Uses) -> list[DeviceValue] | None:
    """The values that change, `value` first, where it is looked up as early as possible.

    None where one of the operations that compute it cannot do that.
    """
    values, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        # A value that is concatenated with itself has two uses, and so no only producer.
        producer = uses.only_producer(one)
        if producer is None:
            return None
        if producer.kind in _THROUGH and table.channel_axis is None:
            waiting += [source for source in producer.inputs if source is not None]
        elif not _takes(producer, table):
            return None
        values.append(one)
    return values


def _absorb(producer: Operation, lookup: Operation) -> None:
    """Look the result of an operation up in the table of `lookup`, and pad with the result."""
    table: Table = lookup.attributes["table"]
    if producer.kind == "Pad":
        padding = int(table.values[producer.attributes["value"]])
        producer.attributes = {**producer.attributes, "value": padding}
    if producer.kind in _THROUGH:
        return
    slot = _slot(producer)
    before: Table | None = producer.attributes.get(slot)
    after = table if before is None else compose(before, table)
    producer.attributes = {**producer.attributes, slot: after}
    producer.name = joined_name(producer, lookup)


def _slot(producer: Operation) -> str:
    """Which of an operation's tables comes last."""
    return "residual_table" if "residual" in producer.attributes else "table"


def _takes(producer: Operation, table: Table) -> bool:
    if not has_table(producer.kind) or producer.output.dtype == DType.F32:
        return False
    if not compatible(producer.attributes.get(_slot(producer)), table):
        return False
    return table.channel_axis is None or (
        producer.kind in CHANNELS_LAST and table.channel_axis % len(producer.output.shape) == 1
    )

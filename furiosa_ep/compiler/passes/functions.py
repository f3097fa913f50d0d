"""Elementwise operations whose operands are functions of one 8-bit value are functions of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.opcodes import OPCODE, elementwise_attributes
from furiosa_ep.compiler.passes.uses import Uses
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.program import OPCODES, DType

_KINDS = frozenset({"Add", "Mul", "Expression"})

_Function = Table | npt.NDArray[Any] | None
"""An operand as a function of another value: a table, a constant, None for the value itself."""


def merge_functions(graph: DeviceGraph) -> None:
    """Make a Lookup of an Add, Mul or Expression all of whose operands are one 8-bit value, lookups
    of it, or constants of one element: x * sigmoid(x) becomes one table.
    """
    uses = Uses.of(graph)
    for operation in graph.operations:
        if operation.kind not in _KINDS or operation.output.dtype == DType.F32:
            continue
        found = _common_source(operation, uses)
        if found is None:
            continue
        source, functions = found
        table = _table(operation.kind, elementwise_attributes(operation), functions)
        operation.kind, operation.inputs = "Lookup", [source]
        operation.attributes = {"table": table}


def _common_source(
    operation: Operation, uses: Uses
) -> tuple[DeviceValue, Sequence[_Function]] | None:
    """The nearest value that all operands are functions of, and the functions."""
    operands = [value for value in operation.inputs if value is not None]
    if any(one.constant is not None and one.constant.size != 1 for one in operands):
        return None
    chains = [_functions(one, uses) for one in operands if one.constant is None]
    for source in chains[0] if chains else ():
        if source.shape == operation.output.shape and all(source in chain for chain in chains):
            left = iter(chains)
            return source, [
                next(left)[source] if one.constant is None else one.constant for one in operands
            ]
    return None


def _functions(value: DeviceValue, uses: Uses) -> dict[DeviceValue, Table | None]:
    """The value and those that it is a lookup of, nearest first, each with the lookup."""
    if value.dtype != DType.U8:
        return {}
    functions: dict[DeviceValue, Table | None] = {value: None}
    table: Table | None = None
    producer = uses.producers.get(value)
    while producer is not None and producer.kind == "Lookup":
        own: Table = producer.attributes["table"]
        (source,) = producer.inputs
        if source is None or source.dtype != DType.U8 or own.channel_axis is not None:
            break
        table = own if table is None else _after(own, table)
        functions[source] = table
        producer = uses.producers.get(source)
    return functions


def _after(first: Table, second: Table) -> Table:
    return Table(lambda: second.values[first.values])


def _table(kind: str, attributes: Mapping[str, Any], functions: Sequence[_Function]) -> Table:
    """The table of an operation, computed by its reference kernel on all codes."""

    def fill() -> npt.NDArray[np.uint8]:
        operands: list[npt.NDArray[Any] | None] = [None] * len(OPCODES[OPCODE[kind]].inputs)
        for position, function in enumerate(functions):
            if isinstance(function, np.ndarray):
                operands[position] = np.broadcast_to(function.reshape(1), 256)
            else:
                codes = np.arange(256, dtype=np.uint8)
                operands[position] = codes if function is None else function.values
        result = np.empty(256, np.uint8)
        REFERENCE[OPCODE[kind]](operands, attributes, result)
        return result

    return Table(fill)

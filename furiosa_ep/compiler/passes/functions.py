"""Elementwise operations whose operands are functions of one 8-bit value are functions of it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.opcodes import OPCODE, elementwise_attributes, operand
from furiosa_ep.compiler.passes.tables import compose
from furiosa_ep.compiler.passes.uses import Uses
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.program import OPCODES, DType

_KINDS = frozenset({"Add", "Mul", "Expression"})
_CODES = 256
_CHANNEL_AXIS = 1
_DEPTH = 16
"""How many lookups before an operand are searched for the value."""

_Function = Table | npt.NDArray[Any] | None
"""An operand as a function of another value: a table, a constant, None for the value itself."""


def merge_functions(graph: DeviceGraph) -> None:
    """Make a Lookup of an Add, Mul or Expression that is a function of one 8-bit value.

    Its operands are that value, lookups of it, and constants of one element, or of one for each
    channel of large images: x * sigmoid(x) becomes one table, and so does x + bias.
    """
    uses = Uses.of(graph)
    for operation in graph.operations:
        if operation.kind not in _KINDS or operation.output.dtype == DType.F32:
            continue
        found = _common_source(operation, uses)
        if found is None:
            continue
        source, functions = found
        table = _table(operation, functions)
        operation.kind, operation.inputs = "Lookup", [source]
        operation.attributes = {"table": table}


def _common_source(
    operation: Operation, uses: Uses
) -> tuple[DeviceValue, Sequence[_Function]] | None:
    """The nearest value that all operands are functions of, and the functions."""
    operands = [value for value in operation.inputs if value is not None]
    constants = [one.constant for one in operands if one.constant is not None]
    if not all(one.size == 1 or _by_channel(one, operation.output.shape) for one in constants):
        return None
    chains = [_lookups(one, uses) for one in operands if one.constant is None]
    for source in chains[0] if chains else ():
        if source.shape == operation.output.shape and all(source in chain for chain in chains):
            left = iter(chains)
            return source, [
                _composed(next(left)[source]) if one.constant is None else one.constant
                for one in operands
            ]
    return None


def _by_channel(constant: npt.NDArray[Any], shape: Sequence[int]) -> bool:
    """Whether a constant has an element for each channel of images of `shape`.

    Also, whether the images have more pixels than a table has codes: it pays to fill one.
    """
    padded = (1,) * (len(shape) - constant.ndim) + constant.shape
    channels = shape[_CHANNEL_AXIS] if len(shape) > _CHANNEL_AXIS + 1 else 0
    expected = [channels if axis == _CHANNEL_AXIS else 1 for axis in range(len(shape))]
    return list(padded) == expected and math.prod(shape) >= _CODES * channels


def _lookups(value: DeviceValue, uses: Uses) -> dict[DeviceValue, tuple[Table, ...]]:
    """The value and those that it is a lookup of, nearest first.

    Each with the tables that make the value of it, the first to apply first.
    """
    found: dict[DeviceValue, tuple[Table, ...]] = {}
    tables: tuple[Table, ...] = ()
    while value.dtype == DType.U8 and len(found) < _DEPTH:
        found[value] = tables
        producer = uses.producers.get(value)
        if producer is None or producer.kind != "Lookup":
            break
        table: Table = producer.attributes["table"]
        if table.channel_axis is not None:
            break
        tables = (table, *tables)
        value = operand(producer)
    return found


def _composed(tables: Sequence[Table]) -> Table | None:
    if not tables:
        return None
    first, *rest = tables
    for table in rest:
        first = compose(first, table)
    return first


def _table(operation: Operation, functions: Sequence[_Function]) -> Table:
    """The table of an operation, computed by its reference kernel on all codes."""
    opcode = OPCODE[operation.kind]
    constants = [one for one in functions if isinstance(one, np.ndarray)]
    channels = max((one.size for one in constants), default=1)
    operands: list[npt.NDArray[Any] | None] = [None] * len(OPCODES[opcode].inputs)
    for position, function in enumerate(functions):
        if isinstance(function, np.ndarray):
            values: npt.NDArray[Any] = function.reshape(-1, 1)
        else:
            values = np.arange(_CODES, dtype=np.uint8) if function is None else function.values
        operands[position] = np.broadcast_to(values, (channels, _CODES))
    result = np.empty((channels, _CODES), np.uint8)
    REFERENCE[opcode](operands, elementwise_attributes(operation), result)
    if channels == 1:
        return Table(lambda: result[0])
    return Table(lambda: result, _CHANNEL_AXIS)

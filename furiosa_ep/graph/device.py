"""The device graph: operations on 8-bit tensors that lowerings emit and passes rewrite.

Shapes are concrete and in ONNX's axis order (N, C, H, W); where the bytes lie is decided later, by
the code generator. Every 8-bit value is held as uint8: int8 values with their top bit flipped.

furiosa_ep/graph/kinds.py says what each kind of operation reads, writes and has for attributes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph.quantization import QuantParams
from furiosa_ep.program.program import DType


@dataclass(eq=False)
class DeviceValue:
    """A tensor of the device graph."""

    name: str
    dtype: DType
    """U8, F32, or for constant operands I8, I16, I32."""
    shape: tuple[int, ...]
    constant: npt.NDArray[Any] | None = None
    signed: bool = False
    """For U8: whether the ONNX value is int8 (held with its top bit flipped)."""


@dataclass(eq=False)
class Table:
    """256 bytes in the stored domain, one per code of the input, or [C, 256].

    The latter has a row for each index of `channel_axis`. Filled when first read: many tables are
    evaluated together.
    """

    fill: Callable[[], npt.NDArray[np.uint8]]
    channel_axis: int | None = None
    """For a [C, 256] table: the axis, in ONNX order, that selects the row."""
    _values: npt.NDArray[np.uint8] | None = None

    @property
    def values(self) -> npt.NDArray[np.uint8]:
        """The bytes: shape [256] or [C, 256]."""
        if self._values is None:
            self._values = self.fill()
        return self._values


@dataclass(frozen=True)
class Residual:
    """An Add in the epilogue of a Conv, whose fifth input is the other operand."""

    a_params: QuantParams
    b_params: QuantParams
    y_params: QuantParams
    first: bool
    """Whether the other operand is the first input of the Add, and the convolution the second."""


@dataclass(eq=False)
class Operation:
    """One operation of the device graph; docs/compiler.md lists the kinds and their attributes."""

    kind: str
    inputs: list[DeviceValue | None]
    outputs: list[DeviceValue]
    attributes: dict[str, Any]
    name: str
    """The ONNX nodes that it came from, for people."""

    @property
    def output(self) -> DeviceValue:
        """The only output."""
        (value,) = self.outputs
        return value


@dataclass(eq=False)
class DeviceGraph:
    """Operations in an order in which they can run, and what goes in and out."""

    inputs: list[DeviceValue] = field(default_factory=list)
    """As the user passes them: dtype of the ONNX value (F32, U8, I8...)."""
    outputs: list[DeviceValue] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def copy(self) -> "DeviceGraph":
        """An equal graph with operations and values of its own.

        Constants, tables and arrays are shared, and read-only in the copy.
        """
        return _Copy().graph(self)

    def consumers(self) -> Mapping[DeviceValue, list[Operation]]:
        """The operations that read each value."""
        users: dict[DeviceValue, list[Operation]] = {}
        for operation in self.operations:
            for value in operation.inputs:
                if value is not None:
                    users.setdefault(value, []).append(operation)
        return users

    def producers(self) -> Mapping[DeviceValue, Operation]:
        """The operation that computes each value that is neither an input nor a constant."""
        return {value: one for one in self.operations for value in one.outputs}

    def remove(self, dead: Iterable[Operation]) -> None:
        """Remove operations that nothing needs any more."""
        gone = set(map(id, dead))
        self.operations = [one for one in self.operations if id(one) not in gone]


class _Copy:
    """Copies a graph, each value and table once."""

    def __init__(self) -> None:
        self._values: dict[DeviceValue, DeviceValue] = {}
        self._tables: dict[Table, Table] = {}

    def graph(self, graph: DeviceGraph) -> DeviceGraph:
        return DeviceGraph(
            [self._value(value) for value in graph.inputs],
            [self._value(value) for value in graph.outputs],
            [
                Operation(
                    one.kind,
                    [None if value is None else self._value(value) for value in one.inputs],
                    [self._value(value) for value in one.outputs],
                    {name: self._attribute(value) for name, value in one.attributes.items()},
                    one.name,
                )
                for one in graph.operations
            ],
        )

    def _value(self, value: DeviceValue) -> DeviceValue:
        found = self._values.get(value)
        if found is None:
            constant = None if value.constant is None else _read_only(value.constant)
            found = DeviceValue(value.name, value.dtype, tuple(value.shape), constant, value.signed)
            self._values[value] = found
        return found

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, Table):
            found = self._tables.get(value)
            if found is None:
                found = Table(lambda: _read_only(value.values), value.channel_axis)
                self._tables[value] = found
            return found
        if isinstance(value, np.ndarray):
            return _read_only(value)
        if isinstance(value, dict):
            return MappingProxyType(dict(value))
        return tuple(value) if isinstance(value, list) else value


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same elements, which nothing can write through the result."""
    if isinstance(array.base, memoryview) and array.base.readonly:
        return array
    return np.asarray(array.data.toreadonly())

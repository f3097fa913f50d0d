"""The builder that lowerings emit device operations with."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.compiler.shapes import check_shape
from furiosa_ep.compiler.tables import TableSet, flip
from furiosa_ep.graph import (
    DeviceGraph,
    DeviceValue,
    ElementType,
    Graph,
    Operation,
    QuantParams,
    Table,
)
from furiosa_ep.graph.element_type import element_name
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.partitioner.support import NodeUnit, Operand
from furiosa_ep.program import DType

_DTYPES = {dtype.numpy: dtype for dtype in DType}


class GraphBuilder:
    """Collects the device graph of a partition; implements partitioner.support.Builder."""

    def __init__(
        self,
        graph: Graph,
        input_shapes: Mapping[str, tuple[int, ...]],
        kernels: Mapping[str, Kernel] = MappingProxyType({}),
    ) -> None:
        """Declare the values that come from outside, whose shapes are concrete.

        Args:
            graph: the partition, or the graph that a part of is lowered.
            input_shapes: those of the inputs, in their order.
            kernels: what lowerings may call, by opcode.
        """
        self.graph = graph
        self._kernels = kernels
        self.device = DeviceGraph()
        self.label = "inputs"
        """The unit that is being lowered, for names and errors."""
        self._values: dict[str, DeviceValue] = {}
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._tables = TableSet(graph, self.folded)
        for name, shape in input_shapes.items():
            self._declare_input(name, shape)

    def value(self, operand: Operand | str) -> DeviceValue:
        """The device value of an ONNX value: what an earlier lowering has set, or a constant.

        Constants of int8 are in the stored domain.
        """
        name = _name(operand)
        found = self._values.get(name)
        if found is not None:
            return found
        array = self.folded(name)
        if array is None:
            raise InternalError(f"unit {self.label!r} reads {name!r}, which no unit before it sets")
        value = self.constant(flip(array), name)
        value.signed = array.dtype == np.int8
        self._values[name] = value
        return value

    def set(self, operand: Operand | str, value: DeviceValue) -> None:
        """Declare `value` to be what an ONNX value holds.

        Raises:
            InternalError: where the model declares another shape or element type.
        """
        name = _name(operand)
        self._check_declared(name, value.shape)
        declared = self.graph.dtype(name)
        found = ElementType.INT8 if value.signed and value.dtype == DType.U8 else value.dtype
        if declared and declared != found:
            raise InternalError(
                f"unit {self.label!r}: {name!r} is {element_name(found)}, but the model declares "
                f"{element_name(declared)}"
            )
        self._values[name] = value

    def set_folded(self, name: str, array: npt.NDArray[Any]) -> None:
        """Declare the array of an ONNX value that follows from shapes alone."""
        self._check_declared(name, array.shape)
        self._arrays[name] = array

    def constant(self, array: npt.NDArray[Any], name: str = "") -> DeviceValue:
        """A constant operand: U8, I8, I16, I32 or F32 by the array's dtype."""
        dtype = _DTYPES.get(array.dtype)
        if dtype is None:
            raise InternalError(f"unit {self.label!r}: constant {name!r} of dtype {array.dtype}")
        return DeviceValue(name or f"{self.label}.constant", dtype, array.shape, array)

    def folded(self, name: str) -> npt.NDArray[Any] | None:
        """The array of an ONNX value that is constant or follows from shapes alone; else None."""
        found = self._arrays.get(name)
        return self.graph.constant(name) if found is None else found

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The concrete shape of an ONNX value that is known by now; None for another."""
        value = self._values.get(name)
        if value is not None:
            return value.shape
        array = self.folded(name)
        return None if array is None else array.shape

    def emit(
        self,
        kind: str,
        inputs: Sequence[DeviceValue | None],
        shape: Sequence[int],
        dtype: Any = ...,
        *,
        signed: bool = False,
        **attributes: Any,
    ) -> DeviceValue:
        """Append an operation and return its output; `dtype` is U8 unless it is given.

        Raises:
            InternalError: where the operands or the shape do not fit the kind.
        """
        dims = tuple(int(dim) for dim in shape)
        try:
            shapes = [None if value is None else value.shape for value in inputs]
            check_shape(kind, shapes, attributes, dims)
        except ValueError as error:
            raise InternalError(f"unit {self.label!r} emits {kind}: {error}") from error
        dtype = DType.U8 if dtype is ... else DType(dtype)
        name = f"{self.label}:{kind}{len(self.device.operations)}"
        output = DeviceValue(name, dtype, dims, signed=signed)
        self.device.operations.append(
            Operation(kind, list(inputs), [output], attributes, self.label)
        )
        return output

    def call(
        self,
        opcode: str,
        inputs: Sequence[DeviceValue | None],
        shape: Sequence[int],
        dtype: Any = ...,
        *,
        params: Sequence[QuantParams | None] = (),
        y_params: QuantParams | None = None,
        **attributes: int | float,
    ) -> DeviceValue:
        """Append a call of a plugin's kernel and return its output; `dtype` is U8 by default.

        Raises:
            InternalError: where operands or attributes do not fit the kernel's declaration.
        """
        kernel = self._kernels.get(opcode)
        if kernel is None:
            raise InternalError(f"unit {self.label!r} calls kernel {opcode}, which no plugin has")
        dtype = DType.U8 if dtype is ... else DType(dtype)
        try:
            dtypes = [None if value is None else value.dtype.name.lower() for value in inputs]
            kernel.check_call([*dtypes, dtype.name.lower()], attributes)
        except ValueError as error:
            raise InternalError(f"unit {self.label!r}: {error}") from error
        return self.emit(
            "Call",
            inputs,
            shape,
            dtype,
            signed=y_params is not None and y_params.signed,
            kernel=kernel,
            params=(*params, *[None] * (len(inputs) - len(params))),
            y_params=y_params,
            values=dict(attributes),
        )

    def table(self, unit: NodeUnit, channel_axis: int | None = None, output: int = 0) -> Table:
        """The table of a unit that is a function of one 8-bit input, as the CPU provider has it."""
        return self._tables.add(unit, self._values, channel_axis, output)

    def finish(self, outputs: Iterable[str]) -> DeviceGraph:
        """Declare the values that leave and return the graph."""
        self.label = "outputs"
        for name in outputs:
            value = self.value(name)
            if value.signed and value.dtype == DType.U8:
                value = self._border(value, DType.I8, signed=False)
            self.device.outputs.append(value)
        return self.device

    def _declare_input(self, name: str, shape: tuple[int, ...]) -> None:
        number = self.graph.dtype(name)
        if number not in set(DType):
            raise CompileError(
                f"input {name!r} has element type {number} of onnx.TensorProto: expected one of "
                f"{', '.join(f'{dtype.name} ({dtype.value})' for dtype in DType)}"
            )
        self._check_declared(name, shape)
        value = DeviceValue(name, DType(number), shape)
        self.device.inputs.append(value)
        if value.dtype == DType.I8:
            value = self._border(value, DType.U8, signed=True)
        self._values[name] = value

    def _border(self, value: DeviceValue, dtype: DType, signed: bool) -> DeviceValue:
        """int8 bytes as users have them, and as the device stores them, each made of the other."""
        table = Table(lambda: np.arange(256, dtype=np.uint8) ^ np.uint8(0x80))
        return self.emit("Lookup", [value], value.shape, dtype, signed=signed, table=table)

    def _check_declared(self, name: str, shape: tuple[int, ...]) -> None:
        declared = self.graph.shape(name)
        if declared is None:
            return
        fits = len(declared) == len(shape) and all(
            not isinstance(known, int) or known == dim
            for known, dim in zip(declared, shape, strict=True)
        )
        if not fits:
            raise InternalError(
                f"unit {self.label!r}: {name!r} has shape {list(shape)}, but the model declares "
                f"{list(declared)}"
            )


def _name(operand: Operand | str) -> str:
    return operand if isinstance(operand, str) else operand.name

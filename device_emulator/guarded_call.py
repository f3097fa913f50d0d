"""One call of a native kernel in which every buffer touches a page where any access faults."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from furiosa_ep.device_emulator.guarded import GuardedBuffer
from furiosa_ep.device_emulator.kernel_records import (
    KERNEL_VERSION,
    PARALLEL_FOR,
    AttributeRecord,
    FrameRecord,
    TensorRecord,
    tensor_record,
)
from furiosa_ep.kernels.kernel import Array, Kernel, KernelCase, KernelTensor
from furiosa_ep.program.program import ALIGNMENT

CONCURRENCY = 4
"""The threads that run tasks where there are several."""
_ERROR_SIZE = 256


class Placement(NamedTuple):
    """Where the buffers of a call lie, and what is in those that it writes."""

    front: bool
    """Whether they begin behind a page that must not be touched, or end at one."""
    strided: bool
    """Whether the elements of tensors lie apart and in another order than row-major."""
    pattern: int = 0
    """The byte that fills the result and the workspace."""

    def __str__(self) -> str:
        where = "buffers begin behind" if self.front else "buffers end at"
        strided = ", tensors are strided" if self.strided else ""
        return f"{where} a page that faults{strided}"


class GuardedCall:
    """A frame in guarded memory, to be called once."""

    def __init__(
        self,
        kernel: Kernel,
        case: KernelCase,
        placement: Placement,
        threads: ThreadPoolExecutor | None = None,
    ) -> None:
        """Lay out everything that the function is given.

        Args:
            kernel: whose native function will be called.
            case: operands, result and attributes.
            placement: of the buffers.
            threads: what runs the tasks of parallel_for; None runs them here, the last one first.
        """
        self._placement = placement
        self._held: list[tuple[str, GuardedBuffer, bytes | None]] = []
        """Name and memory of each buffer; what is in it where that must not change."""
        self._status = 0
        names = [one.name for one in kernel.schema]
        inputs = [
            self._operand(name, tensor) for name, tensor in zip(names, case.inputs, strict=False)
        ]
        output = self._result(names[-1], case.output)
        workspace = self._written("the workspace", kernel.workspace_size(case.shapes), ALIGNMENT)
        self._error = self._written("the error text", _ERROR_SIZE)
        self._error.bytes[0] = 0
        attributes = []
        for name, real in kernel.attribute_names.items():
            attributes.append(AttributeRecord())
            setattr(attributes[-1], "real" if real else "integer", case.attributes[name])
        self._parallel_for = PARALLEL_FOR(_on_threads(threads) if threads else _in_turn)
        record = FrameRecord(
            version=KERNEL_VERSION,
            size=ctypes.sizeof(FrameRecord),
            inputs=self._records("the frame's inputs", TensorRecord, inputs),
            input_count=len(inputs),
            outputs=self._records("the frame's outputs", TensorRecord, [output]),
            output_count=1,
            attributes=self._records("the attributes", AttributeRecord, attributes),
            attribute_count=len(attributes),
            workspace=workspace.address,
            workspace_size=workspace.bytes.size,
            error=self._error.address,
            error_size=_ERROR_SIZE,
            parallel_for=self._parallel_for,
            concurrency=CONCURRENCY if threads else 1,
        )
        self._frame = self._records("the frame", FrameRecord, [record])

    def run(self, function: Callable[[Any], int]) -> None:
        """Call a KERNEL_FUNCTION."""
        self._status = function(self._frame)

    def faults(self) -> Iterator[str]:
        """What the call did wrong, but for the result's values."""
        text, end, _ = self._error.bytes.tobytes().partition(b"\0")
        if not end:
            yield "writes an error text without a NUL at its end"
        elif self._status or text:
            yield f"fails: {text.decode(errors='replace') or f'it returned {self._status}'}"
        for what, buffer, constant in self._held:
            if constant is not None and buffer.bytes.tobytes() != constant:
                yield f"writes to {what}"
            if buffer.stray_write():
                yield f"writes beside {what}"
        result, between = self._gaps
        if (result.bytes[between] != self._placement.pattern).any():
            yield "writes between the elements of the result"

    def _operand(self, name: str, tensor: KernelTensor | None) -> TensorRecord:
        if tensor is None:
            return tensor_record(None)
        strides, offset, size = self._layout(tensor.array)
        buffer = GuardedBuffer(size, front=self._placement.front)
        view: Array = np.ndarray(
            tensor.array.shape, tensor.array.dtype, buffer.bytes, offset, strides
        )
        view[...] = tensor.array
        self._hold(f"operand {name}", buffer, constant=True)
        return self._tensor(name, tensor._replace(array=view), buffer.address + offset)

    def _result(self, name: str, tensor: KernelTensor) -> TensorRecord:
        strides, offset, size = self._layout(tensor.array)
        buffer = self._written(f"result {name}", size)
        layout = tensor.array.shape, tensor.array.dtype, buffer.bytes, offset, strides
        self.output: Array = np.ndarray(*layout)
        """The result, after the call."""
        between = np.ones(size, bool)
        shape, width = tensor.array.shape, tensor.array.itemsize
        np.ndarray((*shape, width), bool, between, offset, (*strides, 1))[...] = False
        self._gaps = buffer, between
        return self._tensor(name, tensor._replace(array=self.output), buffer.address + offset)

    def _tensor(self, name: str, tensor: KernelTensor, address: int) -> TensorRecord:
        """The record of a tensor in guarded memory, with guarded dims and strides."""
        record = tensor_record(tensor)
        rank = tensor.array.ndim
        record.data = address
        record.dims = self._records(f"dims of {name}", ctypes.c_int64, record.dims[:rank])
        record.strides = self._records(f"strides of {name}", ctypes.c_int64, record.strides[:rank])
        return record

    def _layout(self, array: Array) -> tuple[tuple[int, ...], int, int]:
        """Strides, offset of the first element and size in bytes of a tensor like `array`.

        Strided ones have the first axis innermost and backwards, and every other element only.
        """
        strides, step = [0] * array.ndim, array.itemsize * (2 if self._placement.strided else 1)
        axes = range(array.ndim)
        for axis in axes if self._placement.strided else reversed(axes):
            strides[axis], step = step, step * array.shape[axis]
        if not array.size:
            return tuple(strides), 0, 0
        reaches = [stride * (dim - 1) for stride, dim in zip(strides, array.shape, strict=True)]
        offset = 0
        if self._placement.strided and array.ndim:
            offset, strides[0] = reaches[0], -strides[0]
        return tuple(strides), offset, sum(reaches) + array.itemsize

    def _written(self, what: str, size: int, alignment: int = 1) -> GuardedBuffer:
        buffer = GuardedBuffer(size, front=self._placement.front, alignment=alignment)
        buffer.bytes.fill(self._placement.pattern)
        self._hold(what, buffer, constant=False)
        return buffer

    def _records(self, what: str, kind: Any, records: Sequence[Any]) -> Any:
        """A pointer to a copy of ctypes objects in guarded memory that must not change."""
        data = bytes((kind * len(records))(*records))
        buffer = GuardedBuffer(len(data), front=self._placement.front)
        buffer.bytes[:] = np.frombuffer(data, np.uint8)
        self._hold(what, buffer, constant=True)
        return ctypes.cast(buffer.address, ctypes.POINTER(kind))

    def _hold(self, what: str, buffer: GuardedBuffer, *, constant: bool) -> None:
        self._held.append((what, buffer, buffer.bytes.tobytes() if constant else None))


def _in_turn(frame: Any, count: int, task: Any, context: Any) -> None:
    for index in reversed(range(count)):
        task(context, index)


def _on_threads(threads: ThreadPoolExecutor) -> Any:
    def parallel_for(frame: Any, count: int, task: Any, context: Any) -> None:
        list(threads.map(lambda index: task(context, index), range(count)))

    return parallel_for

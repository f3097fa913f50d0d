"""Constant tensors of an ONNX model, read when they are asked for."""

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph.element_type import NUMPY_DTYPES, ElementType
from furiosa_ep.graph.protobuf import (
    Message,
    bytes_field,
    fields,
    integer_field,
    integers,
    number,
    text,
    view,
)

MEMORY_LOCATION = "@mem"
"""The external-data location of an initializer that lies in this process; offset is its address."""


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A TensorProto whose elements have not been read yet."""

    name: str
    dtype: int
    dims: tuple[int, ...]
    message: memoryview
    """All of it."""
    raw: memoryview | None = None
    """The elements, where it holds them as raw_data."""
    external: bool = False
    """Whether it refers to the memory of others, or to a file."""

    @classmethod
    def read(cls, message: Message) -> "Tensor":
        """The tensor of a serialized TensorProto."""
        message = memoryview(message)
        name, dtype, raw, external = "", 0, None, False
        dims: list[int] = []
        for field, value in fields(message):
            if field == 1:
                dims.extend(integers(value))
            elif field == 2:
                dtype = number(value)
            elif field == 8:
                name = text(value)
            elif field == 9:
                raw = view(value)
            elif field == 13:
                external = True
        return cls(name, dtype, tuple(dims), message, raw, external)

    def array(self) -> npt.NDArray[Any]:
        """The elements, without a copy where they lie in this process's memory.

        Raises:
            ValueError: where they are in a file, or are fewer than the dims say.
        """
        raw: Any = self._memory() if self.external else self.raw
        dtype = NUMPY_DTYPES.get(self.dtype)
        if raw is None or dtype is None:
            return self._unusual(raw)
        count = math.prod(self.dims)
        if count == 0:
            return np.zeros(self.dims, dtype)
        array = np.frombuffer(raw, dtype, count).reshape(self.dims)
        return array if self.external else array.copy()

    def _memory(self) -> Any:
        """The memory of this process that the tensor refers to."""
        entries: dict[str, str] = {}
        for field, value in fields(self.message):
            if field == 13:
                entry = {key: text(one) for key, one in fields(view(value))}
                entries[entry.get(1, "")] = entry.get(2, "")
        if entries.get("location") != MEMORY_LOCATION:
            raise ValueError(
                f"initializer {self.name!r} is in the file {entries.get('location')!r}: "
                "load the model with its external data"
            )
        needed = math.prod(self.dims) * NUMPY_DTYPES.get(self.dtype, np.dtype("V")).itemsize
        size = int(entries.get("length", needed))
        memory = (ctypes.c_char * size).from_address(int(entries["offset"]))
        return memoryview(memory).toreadonly()

    def _unusual(self, raw: Any) -> npt.NDArray[Any]:
        """Strings, elements that NumPy lacks, elements in typed fields: as onnx reads them."""
        from onnx import TensorProto, numpy_helper

        proto = TensorProto.FromString(bytes(self.message))
        if self.external:
            del proto.external_data[:]
            proto.data_location = TensorProto.DEFAULT
            proto.raw_data = bytes(raw)
        return np.array(numpy_helper.to_array(proto))


def tensor_message(elements: bytes, name: str, shape: tuple[int, ...], dtype: ElementType) -> bytes:
    """A TensorProto."""
    dims = b"".join(integer_field(1, dim) for dim in shape)
    return dims + integer_field(2, dtype) + bytes_field(8, name) + bytes_field(9, elements)

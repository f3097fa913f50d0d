"""The constants of a Program: aligned, each content once, written where they are wanted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.codegen.views import Buffer, View
from furiosa_ep.program import DType, Storage
from furiosa_ep.program.program import ALIGNMENT

Allocate = Callable[[int], bytearray | memoryview]
"""Gives so many bytes of memory, all zero."""

_DTYPES = {dtype.numpy: dtype for dtype in DType}
_SAMPLE = 64
"""How many elements tell most arrays apart, before all are compared."""


class ConstantPool:
    """Collects arrays and lays them out."""

    def __init__(self) -> None:
        self._buffer = Buffer(Storage.CONSTANT, 0)
        self._entries: dict[Any, list[tuple[npt.NDArray[Any], int]]] = {}
        self._by_identity: dict[int, tuple[npt.NDArray[Any], View]] = {}

    def add(self, array: npt.NDArray[Any]) -> View:
        """The row-major view of an array's elements in the constants.

        The array is read when the constants are written: it may be a strided view of another, and
        must not change.
        """
        known = self._by_identity.get(id(array))
        if known is not None:
            return known[1]
        sample = np.array(array.flat[:_SAMPLE]).tobytes()
        entries = self._entries.setdefault((array.dtype, array.shape, sample), [])
        offset = next((at for other, at in entries if _same_bytes(array, other)), None)
        if offset is None:
            offset = self._buffer.size
            entries.append((array, offset))
            self._buffer.size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        view = replace(View.dense(self._buffer, _DTYPES[array.dtype], array.shape), offset=offset)
        self._by_identity[id(array)] = (array, view)
        return view

    def write(self, allocate: Allocate) -> memoryview:
        """All constants, in memory from `allocate`."""
        memory = memoryview(allocate(self._buffer.size))
        blob = np.frombuffer(memory, np.uint8)
        for entries in self._entries.values():
            for array, offset in entries:
                to = blob[offset : offset + array.nbytes].view(array.dtype)
                np.copyto(to.reshape(array.shape), array)
        return memory


def _same_bytes(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    if a.dtype.kind == "f":  # 0.0 and -0.0 differ, equal NaN do not
        integer = np.dtype(f"u{a.itemsize}")
        a, b = np.ascontiguousarray(a).view(integer), np.ascontiguousarray(b).view(integer)
    return bool(np.array_equal(a, b))

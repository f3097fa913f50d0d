"""Runs Programs with the native executor."""

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator.library import BindingRecord, last_error, load_library
from furiosa_ep.program import Binding, DType, ProgramError


class Executable:
    """A Program that the native library has validated and prepared for this machine.

    Instances may be used by several threads at once.
    """

    def __init__(self, program: bytes) -> None:
        """Loads the bytes of a Program.

        Raises:
            ProgramError: where the executor refuses them; the text says why.
            LibraryError: where the native library cannot be loaded.
        """
        library = load_library()
        handle = ctypes.c_void_p()
        data = np.frombuffer(program, np.uint8)
        if library.furiosa_program_load(data.ctypes.data, data.nbytes, ctypes.byref(handle)):
            raise ProgramError(last_error(library))
        self._library = library
        self._handle = handle
        weakref.finalize(self, library.furiosa_program_free, handle)
        self.inputs = self._bindings("input")
        """What run() takes, in order."""
        self.outputs = self._bindings("output")
        """What run() returns, in order."""

    def run(self, inputs: Sequence[npt.ArrayLike]) -> list[npt.NDArray[Any]]:
        """The outputs for `inputs`, whose dtypes and shapes are those of `self.inputs`.

        Raises:
            ValueError: where number, dtype or shape of the inputs is another.
        """
        arrays, outputs = self.buffers(inputs)
        if self._library.furiosa_program_run(
            self._handle, pointers(arrays), len(arrays), pointers(outputs), len(outputs)
        ):
            raise RuntimeError(last_error(self._library))
        return outputs

    def profile(
        self, inputs: Sequence[npt.ArrayLike], rounds: int = 20, threads: int = 1
    ) -> npt.NDArray[np.int64]:
        """What each command took in each run, in nanoseconds: an array [rounds, commands].

        One thread is the caller's; the others spin between commands. A run before the first round
        warms up. `profile_commands` says which command is which.

        Raises:
            ValueError: as run().
        """
        arrays, outputs = self.buffers(inputs)
        commands = self._library.furiosa_program_command_count(self._handle)
        times = np.empty((1 + rounds, commands), np.int64)
        if self._library.furiosa_program_profile(
            *[self._handle, pointers(arrays), len(arrays), pointers(outputs), len(outputs)],
            *[threads, len(times), times.ctypes.data_as(ctypes.POINTER(ctypes.c_int64))],
        ):
            raise RuntimeError(last_error(self._library))
        return times[1:]

    @property
    def handle(self) -> ctypes.c_void_p:
        """The furiosa_program, valid as long as this object."""
        return self._handle

    def buffers(
        self, inputs: Sequence[npt.ArrayLike]
    ) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
        """The inputs as a run takes them, and memory for its outputs.

        Raises:
            ValueError: as run().
        """
        if len(inputs) != len(self.inputs):
            raise ValueError(f"{len(inputs)} inputs: expected {len(self.inputs)}")
        arrays = [_checked(one, to) for one, to in zip(inputs, self.inputs, strict=True)]
        return arrays, [np.empty(one.shape, one.dtype.numpy) for one in self.outputs]

    def _bindings(self, kind: str) -> tuple[Binding, ...]:
        count = getattr(self._library, f"furiosa_program_{kind}_count")(self._handle)
        describe = getattr(self._library, f"furiosa_program_{kind}")
        bindings = []
        for index in range(count):
            record = BindingRecord()
            if describe(self._handle, index, ctypes.byref(record)):
                raise RuntimeError(last_error(self._library))
            shape = tuple(record.dims[: record.rank])
            bindings.append(Binding(record.name.decode(), DType(record.dtype), shape))
        return tuple(bindings)


def _checked(array: npt.ArrayLike, binding: Binding) -> npt.NDArray[Any]:
    result = np.asarray(array)
    if result.dtype != binding.dtype.numpy or result.shape != binding.shape:
        raise ValueError(
            f"input {binding.name!r} is {result.dtype} {result.shape}: expected "
            f"{binding.dtype.numpy} {binding.shape}"
        )
    return np.require(result, requirements=["C", "A"])


def pointers(arrays: Sequence[npt.NDArray[Any]]) -> "ctypes.Array[ctypes.c_void_p]":
    """Where the elements of arrays are, as C takes it."""
    return (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])

"""Running Programs on devices that are held."""

import ctypes
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator.devices.errors import DeviceError
from furiosa_ep.device_emulator.devices.listing import DeviceFile
from furiosa_ep.device_emulator.devices.native import check
from furiosa_ep.device_emulator.executor import Executable, pointers
from furiosa_ep.device_emulator.library import load_library

DEFAULT_TIMEOUT = 10.0
"""Seconds after which a run that hangs ends."""


class OpenDevice:
    """Devices that this process holds until they are closed; runs use one after the other.

    Programs that run on it stay in its DRAM as long as their `Executable` lives. Threads may share
    it.
    """

    def __init__(
        self, handle: ctypes.c_void_p, files: tuple[DeviceFile, ...], *, shared: bool
    ) -> None:
        """Takes over what furiosa_device_open has given."""
        self.files = files
        """What is held."""
        self.shared = shared
        """Whether other processes may share it."""
        self._library = load_library()
        self._placements: weakref.WeakKeyDictionary[Executable, _Placement]
        self._placements = weakref.WeakKeyDictionary()
        self._handle: int | None = handle.value
        self._close = weakref.finalize(self, self._library.furiosa_device_close, handle)

    def place(self, program: Executable) -> None:
        """Puts a Program into the DRAM of each device, as its first run would.

        Raises:
            OutOfDeviceMemory: where there is no room.
        """
        self._placement(program)

    def run_sync(
        self,
        program: Executable | bytes,
        inputs: Sequence[npt.ArrayLike],
        timeout: float = DEFAULT_TIMEOUT,
    ) -> list[npt.NDArray[Any]]:
        """The outputs of a Program for `inputs`, as `Executable.run` gives them.

        Args:
            program: the bytes of one are loaded anew each time.
            inputs: arrays with the dtypes and shapes of the Program's.
            timeout: seconds after which a run ends on a device that hangs. Nothing else is timed.

        Raises:
            TypeError: where the program is none.
            ValueError: where number, dtype or shape of the inputs is another, or the timeout is
                not above 0.
            DeviceError: where the device fails; see docs/devices.md.
        """
        if not timeout > 0:
            raise ValueError(f"timeout={timeout}: expected a number of seconds above 0")
        executable = Executable(program) if isinstance(program, bytes) else program
        if not isinstance(executable, Executable):
            raise TypeError(
                f"program is {type(program).__name__}: expected an Executable, or the bytes of a "
                "Program (docs/devices.md#python)"
            )
        arrays, outputs = executable.buffers(inputs)
        placement = self._placement(executable)
        check(
            self._library.furiosa_placement_run(
                *[placement.handle, pointers(arrays), len(arrays)],
                *[pointers(outputs), len(outputs), timeout],
            )
        )
        return outputs

    async def run(
        self,
        program: Executable | bytes,
        inputs: Sequence[npt.ArrayLike],
        timeout: float = DEFAULT_TIMEOUT,
    ) -> list[npt.NDArray[Any]]:
        """As run_sync, on another thread while this one goes on."""
        import asyncio  # which takes its time

        copies = [np.array(one) for one in inputs]
        return await asyncio.to_thread(self.run_sync, program, copies, timeout)

    def close(self) -> None:
        """Gives the devices back, once no Program is on them. May be called again."""
        self._placements.clear()
        self._handle = None
        self._close()

    def detach(self) -> int:
        """The native handle, which whoever takes it must close; this object is closed.

        Raises:
            DeviceError: where it is closed already.
        """
        handle = self._opened()
        self._close.detach()
        self._handle = None
        return handle

    def _opened(self) -> int:
        if self._handle is None:
            raise DeviceError("the device is closed")
        return self._handle

    def _placement(self, program: Executable) -> "_Placement":
        found = self._placements.get(program)
        if found is None:
            made = _Placement(self._library, program, self._opened())
            found = self._placements.setdefault(program, made)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._handle is None else ""
        return f"OpenDevice({','.join(file.name for file in self.files)}{closed})"


class _Placement:
    """A Program in the DRAM of a device, freed with this object."""

    def __init__(self, library: ctypes.CDLL, program: Executable, device: int) -> None:
        self.handle = ctypes.c_void_p()
        check(library.furiosa_program_place(program.handle, device, ctypes.byref(self.handle)))
        weakref.finalize(self, library.furiosa_placement_free, self.handle)

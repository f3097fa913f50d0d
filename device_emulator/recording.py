"""Records what runs of this process take, on the host and on the modelled device."""

import ctypes
import weakref

from furiosa_ep.device_emulator.library import WriteCallback, last_error, load_library

CPU, NPU = 1, 2
"""What of a recording is wanted; both, as `CPU | NPU`."""


class Recording:
    """A profile in memory of all runs of the process that begin while it records."""

    def __init__(self) -> None:
        self._library = load_library()
        self._handle = ctypes.c_void_p()
        self._check(self._library.furiosa_profile_create(ctypes.byref(self._handle)))
        weakref.finalize(self, self._library.furiosa_profile_free, self._handle)

    def record(self, on: bool) -> None:
        """Record from now on, or not."""
        self._check(self._library.furiosa_profile_record(self._handle, on))

    def span(self, name: str, start: int, end: int) -> None:
        """Add what the calling thread did, in nanoseconds of `time.monotonic_ns`."""
        encoded = name.replace("\0", "").encode("utf-8", "replace")
        self._check(self._library.furiosa_profile_span(self._handle, encoded, start, end))

    def chrome_trace(self, resources: int = CPU | NPU) -> bytes:
        """What has been recorded up to now (docs/profiling.md)."""
        parts: list[bytes] = []
        write = WriteCallback(
            lambda _context, data, size: parts.append(ctypes.string_at(data, size))
        )
        self._check(self._library.furiosa_profile_write(self._handle, resources, write, None))
        return b"".join(parts)

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(last_error(self._library))

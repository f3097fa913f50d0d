"""Buffers that touch a page where any access faults."""

import ctypes
import mmap
import weakref

import numpy as np
import numpy.typing as npt

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_NO_ACCESS = 0
_CANARY = 0xC5


class GuardedBuffer:
    """`size` bytes between two pages where any access faults.

    They are directly before the second one, or with `front` directly behind the first one.
    """

    def __init__(self, size: int, *, front: bool = False, alignment: int = 1) -> None:
        """Maps the memory.

        Args:
            size: in bytes.
            front: whether the first byte touches a page, instead of the last one.
            alignment: of the first byte. Bytes that it leaves before the second page are watched by
                `stray_write`.

        Raises:
            OSError: where there is no memory.
        """
        page = mmap.PAGESIZE
        pages = max(-(-size // page), 1) * page
        total = pages + 2 * page
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        start = _libc.mmap(None, total, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        if start in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), f"cannot map {total} bytes")
        offset = 0 if front else (pages - size) // alignment * alignment
        memory = (ctypes.c_uint8 * pages).from_address(start + page)
        weakref.finalize(memory, _libc.munmap, start, total)  # arrays of it hold it
        for guard in (start, start + page + pages):
            if _libc.mprotect(guard, page, _NO_ACCESS):
                raise OSError(ctypes.get_errno(), "cannot protect a page")
        mapped = np.ctypeslib.as_array(memory)
        mapped.fill(_CANARY)
        self.address: int = start + page + offset
        self.bytes: npt.NDArray[np.uint8] = mapped[offset : offset + size]
        """The memory."""
        self._around = (mapped[:offset], mapped[offset + size :])

    def stray_write(self) -> bool:
        """Whether something between the two pages was written that is not the buffer."""
        return any(bool((part != _CANARY).any()) for part in self._around)

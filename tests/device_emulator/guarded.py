"""Buffers that end at a page which must not be touched."""

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


class GuardedBuffer:
    """`size` bytes, right before a page where any access faults, and after another such page."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        pages = -(-size // page) * page
        total = pages + 2 * page
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        start = _libc.mmap(None, total, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        assert start not in (None, ctypes.c_void_p(-1).value), "mmap"
        end = start + page + pages
        for guard in (start, end):
            assert _libc.mprotect(guard, page, _NO_ACCESS) == 0, "mprotect"
        self.address = end - size
        memory = (ctypes.c_uint8 * size).from_address(self.address)
        self.bytes: npt.NDArray[np.uint8] = np.ctypeslib.as_array(memory)
        weakref.finalize(self, _libc.munmap, start, total)

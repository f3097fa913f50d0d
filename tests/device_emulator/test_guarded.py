"""Buffers at pages that must not be touched."""

import ctypes
import mmap
import signal
import subprocess
import sys

import pytest

from furiosa_ep.device_emulator.guarded import GuardedBuffer

TOUCH = """
import ctypes
from furiosa_ep.device_emulator.guarded import GuardedBuffer
buffer = GuardedBuffer({size}, front={front})
ctypes.memset(buffer.address, 1, {size})
ctypes.memset(buffer.address + {offset}, 1, 1)
"""


@pytest.mark.parametrize("size", [0, 1, 5, mmap.PAGESIZE, mmap.PAGESIZE + 1])
@pytest.mark.parametrize("front", [False, True])
def test_all_bytes_can_be_used(size: int, front: bool) -> None:
    buffer = GuardedBuffer(size, front=front)
    buffer.bytes[:] = 7
    assert ctypes.string_at(buffer.address, size) == b"\7" * size
    assert not buffer.stray_write()


@pytest.mark.parametrize(
    ("size", "front", "offset"),
    [
        (5, False, 5),
        (5, True, -1),
        (mmap.PAGESIZE, False, -1),
        (mmap.PAGESIZE, True, mmap.PAGESIZE),
    ],
)
def test_the_next_byte_faults(size: int, front: bool, offset: int) -> None:
    program = TOUCH.format(size=size, front=front, offset=offset)
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize(("front", "offset"), [(False, -1), (True, 100)])
def test_a_write_on_the_other_side_is_seen(front: bool, offset: int) -> None:
    buffer = GuardedBuffer(100, front=front)
    ctypes.memset(buffer.address + offset, 1, 1)
    assert buffer.stray_write()


def test_what_alignment_leaves_is_watched() -> None:
    buffer = GuardedBuffer(70, alignment=64)
    assert buffer.address % 64 == 0
    ctypes.memset(buffer.address + 70, 1, 1)
    assert buffer.stray_write()

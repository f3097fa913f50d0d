"""Where the buffers of the arena lie: buffers that live at the same time do not overlap."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from furiosa_ep.program.program import ALIGNMENT


class Lifetime(Protocol):
    """A buffer of `size` bytes that commands `first` to `last` use; -1 where none does."""

    size: int
    offset: int
    first: int
    last: int


def plan_memory(buffers: Sequence[Lifetime]) -> int:
    """Set the offset of every buffer; returns the size of the arena.

    Greedy by size: the largest buffer first, each into the smallest gap that it fits between those
    that were placed before and live at the same time.
    """
    used = [buffer for buffer in buffers if buffer.first >= 0 and buffer.size]
    placed = _Placed(len(used))
    for buffer in sorted(used, key=lambda one: (-one.size, one.first)):
        placed.place(buffer)
    return placed.arena


class _Placed:
    """The buffers that have an offset, in the order of their offsets."""

    def __init__(self, capacity: int) -> None:
        self.arena = 0
        self._count = 0
        # By row: first and last command, offset, and the first aligned offset behind. A column for
        # each buffer: networks with many long-lived values compare all pairs of them.
        self._columns = np.zeros((4, capacity), np.int64)

    def place(self, buffer: Lifetime) -> None:
        """Set the buffer's offset, and keep it."""
        first, last, offsets, ends = self._columns[:, : self._count]
        alive = np.flatnonzero((first <= buffer.last) & (last >= buffer.first))
        buffer.offset = _best_gap(buffer.size, offsets[alive], ends[alive])
        end = -(-(buffer.offset + buffer.size) // ALIGNMENT) * ALIGNMENT
        self.arena = max(self.arena, end)
        at = int(np.searchsorted(offsets, buffer.offset))
        self._columns[:, at + 1 : self._count + 1] = self._columns[:, at : self._count]
        self._columns[:, at] = buffer.first, buffer.last, buffer.offset, end
        self._count += 1


def _best_gap(size: int, offsets: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> int:
    """The start of the smallest gap of at least `size` between buffers sorted by offset."""
    if not offsets.size:
        return 0
    starts = np.maximum.accumulate(ends)
    room = offsets - np.concatenate(([0], starts[:-1]))
    fitting = np.flatnonzero(room >= size)
    if not fitting.size:
        return int(starts[-1])
    best = fitting[np.argmin(room[fitting])]
    return int(starts[best - 1]) if best else 0

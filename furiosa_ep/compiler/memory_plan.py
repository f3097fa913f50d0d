"""Where the buffers of the arena lie: buffers that live at the same time do not overlap."""

from collections.abc import Sequence
from typing import Protocol

from furiosa_ep.program.program import ALIGNMENT


class Lifetime(Protocol):
    """A buffer of `size` bytes that commands `first` to `last` use; -1 where none does."""

    size: int
    offset: int
    first: int
    last: int


def plan_memory(buffers: Sequence[Lifetime], commands: int) -> int:
    """Set the offset of every buffer; returns the size of the arena.

    Greedy by size: the largest buffer first, each into the smallest gap that it fits between those
    that were placed before and live at the same time.
    """
    alive: list[list[Lifetime]] = [[] for _ in range(commands)]
    arena = 0
    used = [buffer for buffer in buffers if buffer.first >= 0 and buffer.size]
    for buffer in sorted(used, key=lambda one: (-one.size, one.first)):
        span = range(buffer.first, buffer.last + 1)
        neighbours = {id(one): one for command in span for one in alive[command]}
        buffer.offset = _best_gap(buffer.size, sorted(neighbours.values(), key=_offset))
        for command in span:
            alive[command].append(buffer)
        arena = max(arena, _aligned(buffer.offset + buffer.size))
    return arena


def _best_gap(size: int, placed: Sequence[Lifetime]) -> int:
    """The start of the smallest gap of at least `size` between buffers sorted by offset."""
    best, best_room, end = -1, 0, 0
    for other in placed:
        room = other.offset - end
        if room >= size and (best < 0 or room < best_room):
            best, best_room = end, room
        end = max(end, _aligned(other.offset + other.size))
    return end if best < 0 else best


def _offset(buffer: Lifetime) -> int:
    return buffer.offset


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT

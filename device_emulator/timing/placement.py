"""What is in SRAM while each command runs, where, and what has to stay in DRAM.

Everything here counts in commands: a piece of SRAM is taken before one and freed behind another.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing.parameters import Parameters
from furiosa_ep.device_emulator.timing.schedule import Use
from furiosa_ep.device_emulator.timing.values import Dataflow
from furiosa_ep.device_emulator.timing.work import Work
from furiosa_ep.program import Program


class MemoryLimitError(Exception):
    """A command of which not even the smallest tile fits into SRAM."""


class Piece(NamedTuple):
    """SRAM that holds one thing, or a part of it, from one command to another."""

    name: str
    use: Use
    address: int
    size: int
    first: int
    last: int


class Placement(NamedTuple):
    """What lies in SRAM, and what does not."""

    pieces: tuple[Piece, ...]
    spilled: tuple[int, ...]
    """The bytes of each value that are in DRAM instead."""
    spilled_at_once: int
    """The most bytes that are in DRAM at a time, of values alone."""
    prefetched: tuple[int, ...]
    """For each command, the one before which loading its weights may begin."""


def place(
    program: Program,
    works: Sequence[Work],
    flow: Dataflow,
    target: Target,
    parameters: Parameters,
) -> Placement:
    """Find room for values and weights; what takes SRAM from others least is placed first.

    Raises:
        MemoryLimitError: where a command cannot run; says which one and what it needs.
    """
    sram = target.sram_bytes * target.pes
    names = [one.name or f"{one.opcode} {n}" for n, one in enumerate(program.commands)]
    _check_tiles(names, works, sram, parameters)
    load = np.zeros(len(works) + 1, np.int64)
    """By command, the bytes that are taken; values that are there before are from the first on."""
    capacity = int(sram * (1 - parameters.streaming_share))
    spans = [(max(0, one.written), one.read) for one in flow.values]
    resident = [0] * len(spans)
    order = sorted(
        range(len(spans)),
        key=lambda n: flow.values[n].size * (spans[n][1] - spans[n][0] + 1),
    )
    for n in order:
        first, last = spans[n]
        room = capacity - int(load[first : last + 1].max())
        resident[n] = min(flow.values[n].size, max(0, room))
        load[first : last + 1] += resident[n]
    prefetched, weights = _prefetch(works, load, sram, parameters)
    taken = [
        (*spans[n], resident[n], flow.values[n].name, Use.ACTIVATION)
        for n in range(len(spans))
        if resident[n]
    ]
    taken += [
        (prefetched[n], n, weights[n], names[n], Use.WEIGHT)
        for n in range(len(works))
        if weights[n]
    ]
    spilled = tuple(one.size - kept for one, kept in zip(flow.values, resident, strict=True))
    return Placement(
        tuple(_addresses(taken, sram)), spilled, bytes_at_once(spans, spilled), tuple(prefetched)
    )


def bytes_at_once(spans: Sequence[tuple[int, int]], sizes: Sequence[int]) -> int:
    """The most bytes that values have together before the same command, by their spans."""
    changes: Counter[int] = Counter()
    for (first, last), size in zip(spans, sizes, strict=True):
        changes[first] += size
        changes[last + 1] -= size
    return max(accumulate(changes[command] for command in sorted(changes)), default=0)


def _check_tiles(
    names: Sequence[str], works: Sequence[Work], sram: int, parameters: Parameters
) -> None:
    """The smallest tile: a line of results of one slice's filters, and all lines that it needs.

    Or one result and all that it depends on, where that is no line.
    """
    for name, work in zip(names, works, strict=True):
        filters = min(work.loops.group, work.shape.columns, parameters.tile_filters)
        needed = work.loops.at_once or (
            min(work.reads, work.loops.taps * parameters.line)
            + min(work.constants, work.loops.taps * filters)
            + min(work.writes, parameters.line * filters)
        )
        if needed > sram:
            raise MemoryLimitError(
                f"{name}: the smallest tile takes {needed} bytes of SRAM, and there are {sram}"
            )


def _prefetch(
    works: Sequence[Work], load: "np.typing.NDArray[np.int64]", sram: int, parameters: Parameters
) -> tuple[list[int], list[int]]:
    """Before which command the weights of each may come, and what part of them fits.

    Weights come in order. Those that do not fit pass through a part of SRAM that nothing else
    takes.
    """
    begins, sizes = [], []
    earliest = 0
    for number, work in enumerate(works):
        wanted = work.constants
        size = min(wanted, sram - int(load[number]))
        begin = number
        while begin > earliest and load[begin - 1] + size <= sram:
            begin -= 1
        load[begin : number + 1] += size
        earliest = begin if wanted else earliest
        begins.append(begin)
        sizes.append(size)
    return begins, sizes


def _addresses(taken: Sequence[tuple[int, int, int, str, Use]], sram: int) -> list[Piece]:
    """Pieces at addresses, in order of time: into one gap, or where none is so large into several.

    What is taken never exceeds SRAM, so that the gaps are always enough.
    """
    pieces: list[Piece] = []
    live: list[Piece] = []
    for first, last, size, name, use in sorted(taken, key=lambda one: (one[0], -one[2])):
        live = [one for one in live if one.last >= first]
        for start, length in _gaps(live, size, sram):
            live.append(Piece(name, use, start, length, first, last))
            pieces.append(live[-1])
        live.sort(key=lambda one: one.address)
    return pieces


def _gaps(live: Sequence[Piece], size: int, sram: int) -> list[tuple[int, int]]:
    """Where so many bytes fit between pieces that are sorted by address."""
    free, end = [], 0
    for one in live:
        if one.address > end:
            free.append((end, one.address - end))
        end = one.address + one.size
    free.append((end, sram - end))
    for start, length in free:
        if length >= size:
            return [(start, size)]
    found = []
    for start, length in sorted(free, key=lambda gap: -gap[1]):
        part = min(length, size)
        if part:
            found.append((start, part))
            size -= part
    return found

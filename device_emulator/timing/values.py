"""The values of a Program: who writes them, who reads them, and what is joined or cut apart."""

from math import prod
from typing import NamedTuple

from furiosa_ep.device_emulator.timing.work import is_border
from furiosa_ep.program import Program, Storage, Tensor


class Value:
    """What one command writes, or what a Program is given."""

    __slots__ = ("name", "read", "share", "size", "written")

    def __init__(self, name: str, size: int, written: int, read: int) -> None:
        self.name = name
        self.size = size
        """In bytes."""
        self.written = written
        """By this command; -1 before the first one."""
        self.read = read
        """By this command last."""
        self.share = 1.0
        """Of the channels of what it is joined to, if it is."""


class Dataflow:
    """What moves from command to command."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.reads: list[list[int]] = []
        """For each command, the positions of the values that it reads."""
        self.writes: list[list[int]] = []
        """For each command, the value that it writes; none where that is an output."""
        self.moved: list[int] = []
        """For each command, the bytes that are joined or cut apart before it reads them."""
        self.shares: list[float] = []
        """For each command, that of its result."""


class _Region(NamedTuple):
    """The bytes of a tensor: runs of `run` bytes, every `pitch` bytes; 0 where there is one."""

    start: int
    end: int
    pitch: int
    run: int
    size: int
    channels: bool
    """Whether a run is the channels of one pixel."""

    def overlaps(self, other: "_Region") -> bool:
        if self.end <= other.start or other.end <= self.start:
            return False
        if not self.pitch or self.pitch != other.pitch:
            return True
        distance = (other.start - self.start) % self.pitch
        return distance < self.run or self.pitch - distance < other.run


def dataflow(program: Program) -> Dataflow:
    """The values of a Program in the order in which they are written.

    What commands leave in the arena is known by addresses alone: a value is what a command reads
    of what an earlier one wrote there and none overwrote.
    """
    flow = Dataflow()
    live: list[tuple[_Region, int]] = []
    regions: dict[int, _Region] = {}
    rearranged: set[_Region] = set()

    def region(position: int) -> _Region:
        found = regions.get(position)
        if found is None:
            found = regions[position] = _region(program.tensors[position])
        return found

    for number, command in enumerate(program.commands):
        reads: list[int] = []
        moved = 0
        border = is_border(program, command)
        for position in command.operands[:-1]:
            if position is None or program.tensors[position].storage != Storage.ARENA:
                continue
            wanted = region(position)
            sources = [(one, value) for one, value in live if one.overlaps(wanted)]
            for _, value in sources:
                flow.values[value].read = number
                reads.append(value)
            joined = len(sources) > 1
            if joined and not border:
                _note_shares(flow, sources)
            cut = any(one.size > wanted.size for one, _ in sources)
            if (joined or cut) and wanted not in rearranged:
                rearranged.add(wanted)
                moved += wanted.size
        flow.reads.append(reads)
        is_copy = border or command.opcode == "COPY"  # which moves itself what it reads
        flow.moved.append(0 if is_copy else moved)
        written = command.operands[-1]
        if written is not None and program.tensors[written].storage == Storage.ARENA:
            own = region(written)
            live = [(one, value) for one, value in live if not one.overlaps(own)]
            rearranged = {one for one in rearranged if not one.overlaps(own)}
            live.append((own, len(flow.values)))
            flow.writes.append([len(flow.values)])
            name = command.name or f"{command.opcode} {number}"
            first = -1 if border else number
            flow.values.append(Value(name, own.size, first, number))
        else:
            flow.writes.append([])
    flow.shares = [min([1.0, *(flow.values[n].share for n in one)]) for one in flow.writes]
    return flow


def _note_shares(flow: Dataflow, sources: list[tuple[_Region, int]]) -> None:
    """Note of each part of a Concat along channels what part it is."""
    for one, value in sources:
        if one.channels and len({other.pitch for other, _ in sources}) == 1:
            flow.values[value].share = min(flow.values[value].share, one.run / one.pitch)


def _region(tensor: Tensor) -> _Region:
    item = tensor.dtype.numpy.itemsize
    low = high = 0
    runs = []
    for dim, stride in zip(tensor.dims, tensor.strides, strict=True):
        if stride < 0:
            low += (dim - 1) * stride
        else:
            high += (dim - 1) * stride
        if dim > 1 and stride:
            runs.append((abs(stride), dim))
    run, pitch = 1, 0
    for stride, dim in sorted(runs):
        if stride != run:
            pitch = stride
            break
        run *= dim
    start = tensor.offset + low * item
    end = tensor.offset + (high + 1) * item
    channels = bool(pitch) and run == tensor.dims[-1] and tensor.strides[-1] == 1
    size = prod(tensor.dims) * item
    return _Region(start, end, pitch * item, run * item, size, channels)

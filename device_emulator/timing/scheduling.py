"""When each command of a Program computes, and when DRAM and the host send what it needs."""

from collections.abc import Container, Iterator, Sequence

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing.border import BorderWork, border_work
from furiosa_ep.device_emulator.timing.parameters import PARAMETERS, Parameters
from furiosa_ep.device_emulator.timing.placement import Placement, place
from furiosa_ep.device_emulator.timing.schedule import Allocation, Schedule
from furiosa_ep.device_emulator.timing.tiling import compute_cycles
from furiosa_ep.device_emulator.timing.values import Dataflow, dataflow
from furiosa_ep.device_emulator.timing.work import Work, work_of
from furiosa_ep.program import Engine, Event, Program


def schedule_program(
    program: Program,
    target: Target,
    parameters: Parameters = PARAMETERS,
    *,
    as_bytes: Container[str] = (),
) -> Schedule:
    """What a device would do when for one run of a Program, with inputs and outputs.

    The host quantizes and sends the inputs first, and takes the outputs last. In between, commands
    compute one after the other. Weights come while earlier commands compute, as far as SRAM has
    room for them; what was spilled of a value comes while the command computes that reads it. A
    Program that exceeds the instruction memory is loaded in parts, each before its first command.

    Args:
        program: what runs.
        target: the device.
        parameters: of the model.
        as_bytes: names of float inputs that come as bytes, which are quantized faster.

    Raises:
        MemoryLimitError: where a command cannot run; says which one and what it needs.
    """
    works = [work_of(program, command, parameters) for command in program.commands]
    flow = dataflow(program)
    placement = place(program, works, flow, target, parameters)
    walk = _Walk(works, flow, placement, target, parameters)
    border = border_work(program, as_bytes) if works else []
    walk.enter([one for one in border if one.entering])
    walk.run(compute_cycles(works, flow.shares, target, parameters).tolist())
    walk.leave([one for one in border if not one.entering])
    transferred = sum(one.bytes for one in border)
    return Schedule(
        target=target,
        events=tuple(sorted(walk.events, key=lambda one: (one.start, one.engine))),
        allocations=tuple(walk.allocations()),
        dram_bytes=len(program.constants) + transferred + placement.spilled_at_once,
        instruction_bytes=sum(one.instructions for one in works),
        spilled_bytes=sum(placement.spilled),
    )


class _Walk:
    """Goes through a Program once, with a clock for each engine."""

    def __init__(
        self,
        works: list[Work],
        flow: Dataflow,
        placement: Placement,
        target: Target,
        parameters: Parameters,
    ) -> None:
        self.events: list[Event] = []
        self._works, self._flow, self._placement = works, flow, placement
        self._target, self._parameters = target, parameters
        dram = target.dram_bytes_per_second * parameters.dram_efficiency
        self._dram_cycles = target.clock_hz / dram
        """For each byte."""
        self._now = 0
        """When the command before has ended."""
        self._dma = 0
        """When the DMA is free."""
        self._next = 0
        """The first command whose weights have not all been loaded."""
        self._left = works[0].constants if works else 0
        """The bytes of them that have not."""
        self._parts = _instruction_parts(works, target.instruction_bytes)
        self._begins: list[int] = []
        """When each command may begin, as far as those before it are concerned."""

    def enter(self, tensors: Sequence[BorderWork]) -> None:
        """What the host does first, and the inputs on their way to the device."""
        self._host(tensors)
        self._transfer(0, tensors)
        self._dma = self._now

    def leave(self, tensors: Sequence[BorderWork]) -> None:
        """The outputs on their way to the host, and what it does last."""
        self._now = max(self._now, self._dma)
        self._transfer(len(self._works) - 1, tensors)
        self._host(tensors)

    def run(self, cycles: list[int]) -> None:
        """All that the device does, where commands compute for so many cycles."""
        for number, work in enumerate(self._works):
            self._begins.append(self._now)
            if work.engine is Engine.COMPUTE:
                self._compute(number, cycles[number])
        self._begins.append(self._now)

    def allocations(self) -> Iterator[Allocation]:
        """What is in SRAM when."""
        for one in self._placement.pieces:
            start, end = self._begins[one.first], self._begins[one.last + 1]
            if end > start:
                yield Allocation(one.name, one.use, one.address, one.size, start, end)

    def _compute(self, number: int, cycles: int) -> None:
        """Load what is missing, join what has to be, compute, and use what is left of the DMA."""
        spilled, flow = self._placement.spilled, self._flow
        while self._next <= number:
            self._load(self._left)
        start = self._now
        if number in self._parts:
            start = self._move(number, start, self._parts[number], self._dram_cycles)
        if self._works[number].constants:
            start = max(start, self._dma)
        if flow.moved[number]:
            rate = self._parameters.rearrange_bytes_per_cycle
            start = self._move(number, start, flow.moved[number], 1 / rate)
        end = start + cycles
        moved = sum(spilled[value] for value in {*flow.reads[number], *flow.writes[number]})
        if moved:
            end = max(end, self._move(number, start, moved, self._dram_cycles))
        self.events.append(Event(number, Engine.COMPUTE, start, end))
        self._now = end
        self._prefetch(number, end)

    def _prefetch(self, number: int, end: int) -> None:
        """Load weights of later commands while one computes, where SRAM has room for them."""
        placed = self._placement.prefetched
        while self._next < len(placed) and placed[self._next] <= number:
            possible = int((end - self._dma) / self._dram_cycles)
            if possible < self._left:
                if possible > 0:
                    self._load(possible)
                return
            self._load(self._left)

    def _load(self, size: int) -> None:
        """Load so many bytes of the next command's weights."""
        if size:
            self._move(self._next, self._dma, size, self._dram_cycles)
        self._left -= size
        if not self._left:
            self._next += 1
            if self._next < len(self._works):
                self._left = self._works[self._next].constants

    def _move(self, number: int, start: int, size: int, cycles_per_byte: float) -> int:
        """Let the DMA move so many bytes from `start` on, or when it is free; when it ends."""
        start = max(start, self._dma)
        self._dma = start + max(1, round(size * cycles_per_byte))
        self.events.append(Event(number, Engine.DMA, start, self._dma, size))
        return self._dma

    def _host(self, tensors: Sequence[BorderWork]) -> None:
        for one in tensors:
            cycles = round(one.host_seconds * self._target.clock_hz)
            if cycles:
                self.events.append(Event(one.command, Engine.HOST, self._now, self._now + cycles))
                self._now += cycles

    def _transfer(self, number: int, tensors: Sequence[BorderWork]) -> None:
        size = sum(one.bytes for one in tensors)
        if size:
            cycles = size / self._target.pcie_bytes_per_second * self._target.clock_hz
            end = self._now + max(1, round(cycles))
            self.events.append(Event(number, Engine.IO, self._now, end, size))
            self._now = end


def _instruction_parts(works: Sequence[Work], memory: int) -> dict[int, int]:
    """Where instructions are loaded in each run: by command, the bytes of the part it begins.

    Nowhere if all of them fit into the instruction memory: then they are there before the run.
    """
    parts: dict[int, int] = {}
    first = -1
    for number, work in enumerate(works):
        if not work.instructions:
            continue
        if first < 0 or parts[first] + work.instructions > memory:
            first = number
        parts[first] = parts.get(first, 0) + work.instructions
    return parts if sum(parts.values()) > memory else {}

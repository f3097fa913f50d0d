"""When each command of a Program computes, and when its weights come from DRAM."""

from itertools import accumulate

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing.schedule import Allocation, Engine, Event, Schedule
from furiosa_ep.device_emulator.timing.work import Work, work_of
from furiosa_ep.program import Program

COMMAND_CYCLES = 8000
MAC_EFFICIENCY = 0.33
INSTRUCTION_BYTES = 256
PCIE_BYTES_PER_SECOND = 12.0e9
HOST_BYTES_PER_SECOND = 2.0e9


def schedule_program(program: Program, target: Target) -> Schedule:
    """What a device would do when for one run of a Program, with inputs and outputs.

    Inputs are transferred first and outputs last; weights come while earlier commands compute.
    """
    works = [work_of(program, command) for command in program.commands]
    inputs = sum(one.dtype.numpy.itemsize * _count(one.shape) for one in program.inputs)
    outputs = sum(one.dtype.numpy.itemsize * _count(one.shape) for one in program.outputs)
    per_second = target.clock_hz
    events: list[Event] = []
    allocations: list[Allocation] = []
    ready = round(inputs / PCIE_BYTES_PER_SECOND * per_second)
    if inputs:
        events.append(Event(0, Engine.IO, 0, ready, inputs))
    loaded = ready
    for number, work in enumerate(works):
        if work.engine is Engine.HOST:
            moved = work.reads + work.writes
            end = ready + round(moved / HOST_BYTES_PER_SECOND * per_second)
            events.append(Event(number, Engine.HOST, ready, end))
            ready = end
            continue
        if work.constants:
            start = max(loaded, ready if number == 0 else 0)
            loaded = start + round(work.constants / target.dram_bytes_per_second * per_second)
            events.append(Event(number, Engine.DMA, start, loaded, work.constants))
        start = max(ready, loaded)
        ready = start + compute_cycles(work, target)
        events.append(Event(number, Engine.COMPUTE, start, ready))
    end = ready + round(outputs / PCIE_BYTES_PER_SECOND * per_second)
    if outputs:
        events.append(Event(len(works) - 1, Engine.IO, ready, end, outputs))
    return Schedule(
        target=target,
        events=tuple(sorted(events, key=lambda one: (one.start, one.engine))),
        allocations=tuple(allocations),
        dram_bytes=len(program.constants) + inputs + outputs,
        instruction_bytes=INSTRUCTION_BYTES * len(works),
    )


def compute_cycles(work: Work, target: Target) -> int:
    """The cycles that a command keeps the processing element busy."""
    macs = work.macs / (target.macs_per_cycle * target.pes * MAC_EFFICIENCY)
    moved = (work.reads + work.writes) / (64 * 8 * target.pes)
    return COMMAND_CYCLES + round(max(macs, moved))


def _count(shape: tuple[int, ...]) -> int:
    *_, count = accumulate(shape, int.__mul__, initial=1)
    return count

"""What each command of a Program takes on the device, and what would make it faster."""

from collections.abc import Iterator

from furiosa_ep.device_emulator.timing import Engine, Event
from furiosa_ep.device_emulator.timing.work import Work, work_of
from furiosa_ep.estimation.figures import Bound, Layer, Run
from furiosa_ep.program import Command, Program


def npu_layers(run: Run) -> Iterator[Layer]:
    """A layer for each command that computes; their times add up to that of the NPU."""
    program, schedule = run.program, run.schedule
    loads: dict[int, list[Event]] = {}
    for event in schedule.events:
        if event.engine is Engine.DMA:
            loads.setdefault(event.command, []).append(event)
    own = [event for event in schedule.events if event.engine in (Engine.COMPUTE, Engine.DMA)]
    before = min((event.start for event in own), default=0)
    computed = (event for event in schedule.events if event.engine is Engine.COMPUTE)
    for event in sorted(computed, key=lambda one: one.end):
        command = program.commands[event.command]
        work = work_of(program, command)
        cycles = event.end - before
        possible = cycles * schedule.target.macs_per_cycle * schedule.target.pes
        yield Layer(
            name=command.name,
            op=kind(program, command),
            ms=1e3 * cycles / schedule.target.clock_hz,
            bound=_bound(work, event, before, run),
            macs=work.macs,
            utilization=work.macs / possible if possible else 0.0,
            dram_bytes=sum(load.bytes for load in loads.get(event.command, ())),
        )
        before = event.end


def instruction_loads(run: Run) -> Iterator[Layer]:
    """The load of a program that exceeds the instruction memory, in parts in each run."""
    schedule = run.schedule
    target, size = schedule.target, schedule.instruction_bytes
    if size > target.instruction_bytes:
        ms = 1e3 * size / target.dram_bytes_per_second
        yield Layer("instructions", "Load", ms, Bound.DRAM, dram_bytes=size)


def kind(program: Program, command: Command) -> str:
    """What a command does, as people write it: Conv, MaxPool; the opcode of a plugin's kernel."""
    if command.opcode == "CALL":
        return program.kernel(command)
    return command.opcode.title().replace("_", "")


def _bound(work: Work, event: Event, before: int, run: Run) -> Bound:
    target = run.schedule.target
    computing = event.end - event.start
    waiting = event.start - before
    if waiting > computing:
        return Bound.DRAM
    multiplying = work.macs / (target.macs_per_cycle * target.pes)
    moving = (work.reads + work.writes) / (512 * target.pes)
    return max(
        (multiplying, Bound.COMPUTE),
        (moving, Bound.SRAM),
        (computing - max(multiplying, moving), Bound.OVERHEAD),
    )[1]

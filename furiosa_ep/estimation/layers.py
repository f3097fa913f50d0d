"""What each command of a Program takes on the device, and what would make it faster."""

from collections.abc import Iterator, Sequence

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing import PARAMETERS
from furiosa_ep.device_emulator.timing.work import Work, work_of
from furiosa_ep.estimation.figures import Bound, Layer, Run
from furiosa_ep.program import Command, Engine, Event, Program

_KINDS = {"MATMUL": "MatMul"}


def npu_layers(run: Run) -> Iterator[Layer]:
    """A layer for each command that computes; their times add up to that of the NPU."""
    program, schedule = run.program, run.schedule
    target = schedule.target
    moves: dict[int, list[Event]] = {}
    for event in schedule.events:
        if event.engine is Engine.DMA:
            moves.setdefault(event.command, []).append(event)
    own = [event for event in schedule.events if event.engine in (Engine.COMPUTE, Engine.DMA)]
    before = min((event.start for event in own), default=0)
    computed = (event for event in schedule.events if event.engine is Engine.COMPUTE)
    for event in sorted(computed, key=lambda one: one.end):
        command = program.commands[event.command]
        work = work_of(program, command)
        dram = [one for one in moves.get(event.command, ()) if not _is_within_sram(one, target)]
        cycles = event.end - before
        possible = cycles * target.macs_per_cycle * target.pes
        yield Layer(
            name=command.name,
            op=kind(program, command),
            ms=1e3 * cycles / target.clock_hz,
            bound=_bound(work, event, before, dram, target),
            macs=work.macs,
            utilization=work.macs / possible if possible else 0.0,
            dram_bytes=sum(one.bytes for one in dram),
        )
        before = event.end


def kind(program: Program, command: Command) -> str:
    """What a command does, as people write it: Conv, MaxPool; the opcode of a plugin's kernel."""
    if command.opcode == "CALL":
        return program.kernel(command)
    return _KINDS.get(command.opcode) or command.opcode.title().replace("_", "")


def _is_within_sram(event: Event, target: Target) -> bool:
    """Whether the DMA joins or cuts what is in SRAM, which is far slower than DRAM."""
    from_dram = event.bytes / target.dram_bytes_per_second * target.clock_hz
    return event.end - event.start > max(2, 2 * from_dram)


def _bound(work: Work, event: Event, before: int, dram: Sequence[Event], target: Target) -> Bound:
    """What takes most of the time from the end of the command before to that of this one."""
    waiting, computing = event.start - before, event.end - event.start
    loading = sum(max(0, min(one.end, event.end) - max(one.start, before)) for one in dram)
    if loading > 0.9 * (waiting + computing) or loading > max(computing, waiting / 2):
        return Bound.DRAM
    overhead = work.loops.commands * PARAMETERS.command_cycles
    moving = work.shape.size * work.loops.passes / PARAMETERS.slice_bytes_per_cycle
    moving = moving / (target.slices * target.pes) + max(0, waiting - loading)
    return max(
        (computing - overhead - moving, Bound.COMPUTE),
        (moving, Bound.SRAM),
        (overhead, Bound.OVERHEAD),
    )[1]

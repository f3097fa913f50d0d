"""The timing model: what a device would do when, and what lies in its memory meanwhile."""

from dataclasses import replace
from functools import partial
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.device_emulator import register_kernel, unregister_kernel
from furiosa_ep.device_emulator.target import WARBOY, WARBOY_2PE, Target
from furiosa_ep.device_emulator.timing import (
    PARAMETERS,
    MemoryLimitError,
    Schedule,
    Use,
    border_work,
    bytes_at_once,
    schedule_program,
)
from furiosa_ep.kernels.kernel import Kernel, KernelCost, Shapes
from furiosa_ep.program import OPCODES, CallValues, DType, Engine, Program, Storage
from tests.device_emulator.timing_programs import CONV, ProgramWriter, chain

SMALL = replace(WARBOY, name="small", sram_bytes=1 << 18)
SIZES = st.integers(1, 90)
LAYERS = st.lists(
    st.tuples(st.integers(1, 300), st.sampled_from([1, 3, 5])), min_size=1, max_size=6
)
TARGETS = st.builds(
    Target,
    st.just("any"),
    pes=st.integers(1, 4),
    clock_hz=st.floats(1e8, 4e9),
    sram_bytes=st.integers(1 << 19, 1 << 24),
    slices=st.sampled_from([1, 3, 64]),
    dram_bytes_per_second=st.floats(1e9, 1e12),
)


def npu_cycles(program: Program, target: Target = WARBOY) -> int:
    return schedule_program(program, target).cycles


def joined(parts: int, channels: int, *, in_place: bool) -> Program:
    """A Concat of `parts` results, or as many convolutions beside each other, and one behind."""
    writer = ProgramWriter()
    x = writer.image((20, 20, 64))
    whole = (1, 20, 20, parts * channels)
    first = writer.tensor(whole)
    y = first
    for part in range(parts if in_place else 0):
        place = writer.tensors[first].offset + part * channels
        y = writer.tensor((1, 20, 20, channels), within=whole, offset=place)
        writer.conv(x, channels, 3, y=y)
    if not in_place:
        for _ in range(parts - 1):
            writer.conv(x, channels, 3)
        y = writer.conv(x, channels, 3)
    writer.output(writer.conv(first if in_place else y, 32))
    return writer.program()


def of_opcode(opcode: str) -> Program:
    """A Program with one command of an opcode, on images of 8 x 8 x 16."""
    schema, writer = OPCODES[opcode], ProgramWriter()
    x = writer.image((8, 8, 16))
    constants: dict[str, tuple[tuple[int, ...], DType]] = {
        "w": ((16, 3, 3, 16), DType.I8),
        "bias": ((16,), DType.I32),
        "multiplier": ((16,), DType.F32),
        "table": ((256,), DType.U8),
        "exp_table": ((256,), DType.F32),
        "indices": ((8,), DType.I32),
        "kernel": ((4,), DType.U8),
    }
    operands: list[int | None] = []
    for name in schema.inputs:
        known = constants.get(name)
        if known is None and name.startswith(("rows", "row_", "columns", "column_")):
            known = ((8,), DType.I32)
        operands.append(writer.constant(*known) if known else x)
    attributes: dict[str, Any] = {
        name: 0.0 if name in schema.floats else 1 for name in schema.attributes
    }
    if schema.variadic:
        attributes[schema.variadic] = ()
    attributes |= {name: CONV[name] for name in ("group",) if name in schema.attributes}
    y = writer.tensor((1, 8, 8, 16))
    writer.command(opcode, *operands, y, **attributes)
    writer.output(y)
    return writer.program()


def assert_possible(schedule: Schedule) -> None:
    """Each engine does one thing at a time, and so does each byte of SRAM."""
    for engine in Engine:
        own = [one for one in schedule.events if one.engine is engine]
        assert all(one.end <= other.start for one, other in pairwise(own))
        assert all(one.start < one.end for one in own)
    sram = schedule.target.sram_bytes * schedule.target.pes
    for one in schedule.allocations:
        assert 0 <= one.address < one.address + one.size <= sram
        assert one.start < one.end
    for one, other in combinations(schedule.allocations, 2):
        apart = one.end <= other.start or other.end <= one.start
        assert (
            apart
            or one.address + one.size <= other.address
            or other.address + other.size <= one.address
        )


@settings(deadline=None)
@given(SIZES, SIZES, LAYERS, TARGETS)
def test_schedules_are_possible(
    height: int, width: int, layers: list[tuple[int, int]], target: Target
) -> None:
    program = chain(height, width, layers)
    schedule = schedule_program(program, target)
    assert_possible(schedule)
    starts = [one.start for one in schedule.events]
    assert starts == sorted(starts)
    computed = [one.command for one in schedule.events if one.engine is Engine.COMPUTE]
    assert computed == list(range(1, len(layers) + 1))


@pytest.mark.parametrize("opcode", OPCODES)
@pytest.mark.parametrize("target", [WARBOY, WARBOY_2PE, SMALL], ids=lambda target: target.name)
def test_every_opcode_takes_time(opcode: str, target: Target) -> None:
    schedule = schedule_program(of_opcode(opcode), target)
    assert_possible(schedule)
    (own,) = [one for one in schedule.events if one.command == 1 and one.engine is Engine.COMPUTE]
    assert own.end - own.start >= PARAMETERS.command_cycles


def test_host_quantizes_before_and_after_transfers() -> None:
    schedule = schedule_program(chain(32, 32, [(32, 3)]), WARBOY)
    order = [one.engine for one in schedule.events if one.engine is not Engine.DMA]
    assert order == [Engine.HOST, Engine.IO, Engine.COMPUTE, Engine.IO, Engine.HOST]
    sent, taken = (one.bytes for one in schedule.events if one.engine is Engine.IO)
    assert (sent, taken) == (32 * 32 * 16, 32 * 32 * 32)


def test_host_takes_for_floats_longer_than_for_bytes() -> None:
    floats = chain(32, 32, [(32, 3)])
    integers = replace(floats, inputs=[replace(floats.inputs[0], dtype=DType.U8)])

    def first(schedule: Schedule) -> int:
        return next(one.end for one in schedule.events if one.engine is Engine.HOST)

    as_bytes = schedule_program(floats, WARBOY, as_bytes=[floats.inputs[0].name])
    assert first(as_bytes) == first(schedule_program(integers, WARBOY))
    assert first(as_bytes) < first(schedule_program(floats, WARBOY))


def test_host_and_transfers_belong_to_the_commands_at_the_border() -> None:
    schedule = schedule_program(chain(32, 32, [(32, 3)] * 2), WARBOY)
    beside = [one for one in schedule.events if one.engine in (Engine.HOST, Engine.IO)]
    assert [one.command for one in beside] == [0, 0, 3, 3]
    works = border_work(chain(32, 32, [(32, 3)] * 2))
    assert [one.command for one in works] == [0, 3]
    taken = sum(one.end - one.start for one in beside if one.engine is Engine.HOST)
    wanted = sum(one.host_seconds for one in works) * WARBOY.clock_hz
    assert taken == pytest.approx(wanted, abs=len(works))


@given(SIZES, LAYERS, st.integers(512, 8192))
def test_instructions_that_do_not_fit_are_loaded_in_parts(
    size: int, layers: list[tuple[int, int]], memory: int
) -> None:
    program = chain(size, size, layers)
    small = replace(WARBOY, instruction_bytes=memory)
    whole, parts = schedule_program(program, WARBOY), schedule_program(program, small)
    assert_possible(parts)

    def loaded(schedule: Schedule) -> int:
        return sum(one.bytes for one in schedule.events if one.engine is Engine.DMA)

    fits = whole.instruction_bytes <= memory
    assert loaded(parts) - loaded(whole) == (0 if fits else whole.instruction_bytes)
    assert (parts.cycles > whole.cycles) is not fits


@settings(deadline=None)
@given(SIZES, SIZES, LAYERS, st.sampled_from(["height", "width", "columns", "kernel"]))
def test_more_work_takes_longer(
    height: int, width: int, layers: list[tuple[int, int]], grown: str
) -> None:
    more = [
        (columns + 17 * (grown == "columns"), kernel + 2 * (grown == "kernel"))
        for columns, kernel in layers
    ]
    larger = chain(height + 9 * (grown == "height"), width + 9 * (grown == "width"), more)
    assert npu_cycles(chain(height, width, layers)) <= npu_cycles(larger)


@settings(deadline=None)
@given(SIZES, SIZES, LAYERS)
def test_fused_device_is_slower_by_no_more_than_exchange(
    height: int, width: int, layers: list[tuple[int, int]]
) -> None:
    program = chain(height, width, layers)
    most = npu_cycles(program) * (1 + PARAMETERS.exchange / 2)
    assert npu_cycles(program, WARBOY_2PE) <= most + len(layers)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), LAYERS, st.integers(2, 8))
def test_batch_takes_no_longer_than_its_samples(
    height: int, width: int, layers: list[tuple[int, int]], batch: int
) -> None:
    alone = npu_cycles(chain(height, width, layers))
    assert npu_cycles(chain(height, width, layers, batch)) <= batch * alone + len(layers)


def test_clock_and_bandwidth_of_the_target_count() -> None:
    program = chain(2, 2, [(2048, 3), (2048, 3)])
    slow = replace(WARBOY, dram_bytes_per_second=1e9)
    assert npu_cycles(program, slow) > 2 * npu_cycles(program)
    loads = [one for one in schedule_program(program, slow).events if one.engine is Engine.DMA]
    assert sum(one.bytes for one in loads) == len(program.constants)


def test_weights_come_while_earlier_commands_compute() -> None:
    schedule = schedule_program(chain(80, 80, [(64, 3)] * 8), WARBOY)
    computing = [one for one in schedule.events if one.engine is Engine.COMPUTE]
    assert all(one.end == other.start for one, other in pairwise(computing))
    weights = [one for one in schedule.allocations if one.use is Use.WEIGHT]
    assert {one.start for one in weights} == {weights[0].start}


def test_what_does_not_fit_is_spilled() -> None:
    program = chain(80, 80, [(64, 1)] * 4)
    small, large = schedule_program(program, SMALL), schedule_program(program, WARBOY)
    assert_possible(small)
    assert small.dram_bytes > large.dram_bytes
    assert small.cycles > large.cycles
    moved = sum(one.bytes for one in small.events if one.engine is Engine.DMA)
    assert moved > len(program.constants) + small.dram_bytes - large.dram_bytes


def test_command_without_room_for_a_tile_is_named() -> None:
    tiny = replace(WARBOY, sram_bytes=4096)
    with pytest.raises(MemoryLimitError, match=r"conv: the smallest tile takes \d+ bytes of SRAM"):
        schedule_program(chain(8, 8, [(64, 3), (64, 3)]), tiny)


def test_parts_of_a_concat_take_longer_than_results_of_their_own() -> None:
    apart, together = (joined(4, 64, in_place=one) for one in (False, True))
    assert npu_cycles(together) > 1.5 * npu_cycles(apart)
    moved = [one for one in schedule_program(together, WARBOY).events if one.engine is Engine.DMA]
    assert 20 * 20 * 4 * 64 in [one.bytes for one in moved]


def test_depthwise_convolution_is_bound_by_what_it_fetches() -> None:
    writers = [ProgramWriter(), ProgramWriter()]
    for writer, group in zip(writers, (1, 256), strict=True):
        writer.output(writer.conv(writer.image((56, 56, 256)), 256, 3, group=group))
    dense, depthwise = (npu_cycles(writer.program()) for writer in writers)
    assert dense / 256 < depthwise < dense / 8


def test_cost_of_a_plugin_kernel_counts() -> None:
    def program() -> Program:
        writer = ProgramWriter()
        x, y = writer.image((8, 8, 16)), writer.tensor((1, 8, 8, 16))
        code = writer.constant((9,))
        values = CallValues([(1.0, 0), (1.0, 0)], []).words()
        writer.command("CALL", code, x, y, workspace=0, values=values)
        writer.output(y)
        return replace(writer.program(), constants=b"TIME_COST".ljust(64, b"\0"))

    kernel = Kernel("TIME_COST", "x:u8 -> y:u8", lambda frame: np.copyto(frame.output.array, 0))
    cycles = []
    for cost in (None, KernelCost(macs=10**9), KernelCost(operations=10**9)):
        register_kernel(replace(kernel, cost=cost and partial(_always, cost)), "test")
        cycles.append(npu_cycles(program()))
        unregister_kernel("TIME_COST")
    free, multiplying, moving = cycles
    assert free < multiplying
    assert free < moving
    assert multiplying >= 10**9 / WARBOY.macs_per_cycle


def _always(cost: KernelCost, shapes: Shapes) -> KernelCost:
    return cost


def test_inputs_that_commands_read_directly_are_no_values() -> None:
    writer = ProgramWriter()
    x = writer.tensor((1, 8, 8, 16), storage=Storage.INPUT)
    y = writer.conv(x, 16)
    writer.command("COPY", y, None, writer.tensor((1, 8, 8, 16), storage=Storage.OUTPUT))
    assert_possible(schedule_program(writer.program(), WARBOY))


def test_program_without_commands_takes_no_time() -> None:
    assert schedule_program(ProgramWriter().program(), WARBOY).cycles == 0


def test_values_that_are_not_there_at_the_same_time_share_dram() -> None:
    small = replace(WARBOY, sram_bytes=1 << 18)
    short, long = (schedule_program(chain(512, 512, [(8, 1)] * n), small) for n in (4, 12))
    weights = [len(chain(512, 512, [(8, 1)] * n).constants) for n in (4, 12)]
    assert long.spilled_bytes > 2 * short.spilled_bytes
    assert long.dram_bytes - weights[1] == short.dram_bytes - weights[0]
    assert long.dram_bytes - weights[1] > 512 * 512 * 8


def test_bytes_at_once() -> None:
    assert bytes_at_once([], []) == 0
    assert bytes_at_once([(0, 1), (1, 2), (2, 2)], [3, 4, 5]) == 9
    assert bytes_at_once([(-1, 0), (1, 1)], [7, 2]) == 7

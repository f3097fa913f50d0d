"""The timing model: what a device would do when."""

from furiosa_ep.device_emulator.target import WARBOY, WARBOY_2PE
from furiosa_ep.device_emulator.timing import Engine, schedule_program
from furiosa_ep.program import Binding, Command, DType, Program, Storage, Tensor


def _copy(elements: int) -> Program:
    shape = (elements,)
    tensors = [
        Tensor(DType.U8, storage, shape, (1,))
        for storage in (Storage.INPUT, Storage.ARENA, Storage.OUTPUT)
    ]
    return Program(
        tensors,
        [Command("COPY", (0, None, 1)), Command("COPY", (1, None, 2))],
        [Binding("x", DType.U8, shape)],
        [Binding("y", DType.U8, shape)],
        b"",
        elements,
    )


def test_schedule_holds_host_and_transfers() -> None:
    schedule = schedule_program(_copy(1 << 20), WARBOY)
    assert schedule.busy(Engine.IO) > 0
    assert schedule.busy(Engine.HOST) > 0


def test_larger_copies_take_longer() -> None:
    small, large = (schedule_program(_copy(n), WARBOY_2PE) for n in (1 << 10, 1 << 22))
    assert max(one.end for one in small.events) < max(one.end for one in large.events)

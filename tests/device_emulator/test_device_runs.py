"""Runs on devices: results, turns, counters and memory."""

import asyncio
import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from furiosa_ep import devices
from furiosa_ep.device_emulator import Executable, checksum
from furiosa_ep.program import (
    Binding,
    Command,
    DType,
    Engine,
    Event,
    Program,
    Schedule,
    Storage,
    Tensor,
)
from tests.device_emulator.other_process import holder

SCHEDULE = Schedule(
    "warboy",
    2_000_000_000,
    1,
    1 << 20,
    (
        Event(0, Engine.IO, 0, 10, 6),
        Event(0, Engine.DMA, 10, 40, 6),
        Event(0, Engine.COMPUTE, 30, 130, 0),
    ),
)
NONE = Schedule()


def negation(size: int = 6, schedule: Schedule = NONE) -> Program:
    """y = 255 - x."""
    return Program(
        tensors=[
            Tensor(DType.U8, Storage.INPUT, (size,), (1,)),
            Tensor(DType.U8, Storage.CONSTANT, (256,), (1,)),
            Tensor(DType.U8, Storage.OUTPUT, (size,), (1,)),
        ],
        commands=[Command("COPY", (0, 1, 2), {}, "negation")],
        inputs=[Binding("x", DType.U8, (size,))],
        outputs=[Binding("y", DType.U8, (size,))],
        constants=bytes(reversed(range(256))),
        arena_size=0,
        schedule=schedule,
    )


def executable(size: int = 6, schedule: Schedule = NONE) -> Executable:
    return Executable(negation(size, schedule).to_bytes(checksum))


X = np.arange(6, dtype=np.uint8)


def check(outputs: list[npt.NDArray[Any]]) -> None:
    np.testing.assert_array_equal(outputs, [255 - X])


def test_runs_give_what_the_program_gives(host: str) -> None:
    program = executable()
    with devices.open("npu0pe1") as device:
        check(device.run_sync(program, [X]))
        check(device.run_sync(negation().to_bytes(checksum), [X]))
        check(asyncio.run(device.run(program, [X])))
        with pytest.raises(ValueError, match="2 inputs: expected 1"):
            device.run_sync(program, [X, X])
        with pytest.raises(TypeError, match="program is str: expected an Executable"):
            device.run_sync("model.onnx", [X])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout=0"):
            device.run_sync(program, [X], timeout=0)
    with pytest.raises(devices.DeviceError, match="closed"):
        device.run_sync(program, [X])
    assert [one.executions for one in devices.list_devices()[0].counters()] == [0, 3]


def test_asynchronous_runs_go_on_together(host: str) -> None:
    program = executable()

    async def run() -> list[list[npt.NDArray[Any]]]:
        with devices.open("npu0") as device:
            return await asyncio.gather(*(device.run(program, [X]) for _ in range(20)))

    for outputs in asyncio.run(run()):
        check(outputs)
    assert [one.executions for one in devices.list_devices()[0].counters()] == [10, 10]


def test_counters_add_up_over_threads(host: str) -> None:
    program = executable(schedule=SCHEDULE)
    with devices.open("npu0pe0") as device, ThreadPoolExecutor(8) as threads:
        for outputs in threads.map(lambda _: device.run_sync(program, [X]), range(2000)):
            check(outputs)
    counters = devices.list_devices()[0].counters()[0]
    assert counters == devices.Counters(
        executions=2000,
        cycles=2000 * 120,
        compute_cycles=2000 * 100,
        dma_cycles=2000 * 30,
        io_cycles=2000 * 10,
        bytes_in=2000 * 6,
        bytes_out=2000 * 6,
        failures=0,
    )
    (client,) = devices.clients()
    assert client.counters == {"npu0pe0": counters}


def test_the_counters_of_processes_that_ended_stay(host: str) -> None:
    code = (
        "import numpy as np; from furiosa_ep import devices\n"
        "from tests.device_emulator.test_device_runs import executable, X\n"
        "with devices.open('npu0pe0') as device: device.run_sync(executable(), [X])\n"
    )
    for expected in (1, 2):
        subprocess.run([sys.executable, "-c", code], check=True)
        assert devices.list_devices()[0].counters()[0].executions == expected
    with devices.open("npu0pe0") as device:  # in the slot of those before
        device.run_sync(executable(), [X])
    (client,) = devices.clients()
    assert client.counters["npu0pe0"].executions == 1
    assert devices.list_devices()[0].counters()[0].executions == 3


def test_a_program_takes_dram_as_long_as_it_lives(host: str) -> None:
    (card,) = devices.list_devices()
    program = executable(schedule=SCHEDULE)
    with devices.open("npu0") as device:
        assert card.dram_used == 0
        device.place(program)
        device.run_sync(program, [X])
        assert card.dram_used == 2 << 20  # on each of the PEs that take turns
        del program
        gc.collect()
        assert card.dram_used == 0


def test_too_much_does_not_fit(host: str) -> None:
    with devices.open("npu0pe0") as device:
        with pytest.raises(devices.OutOfDeviceMemory, match=r"needs 20480.0 MiB.*npu0 has 16384.0"):
            device.place(executable(10 << 30))
        held = executable(6 << 30)
        device.place(held)
        with pytest.raises(devices.OutOfDeviceMemory, match=r"has 4095.* MiB of 16384.0 MiB left"):
            device.place(executable(3 << 30))
        device.place(executable(1 << 30))


def test_dram_is_shared_with_other_processes(host: str) -> None:
    code = (
        "import sys; from furiosa_ep import devices\n"
        "from tests.device_emulator.test_device_runs import executable\n"
        "device, program = devices.open('npu0pe1'), executable(6 << 30)\n"
        "device.place(program)\n"
        "print('placed', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (card,) = devices.list_devices()
        assert card.dram_used >= 12 << 30
        with devices.open("npu0pe0") as device:
            program = executable(3 << 30)
            with pytest.raises(devices.OutOfDeviceMemory):
                device.place(program)
            other.kill()
            other.wait()
            assert card.dram_used == 0
            device.place(program)


def test_occupied_by_several(host: str) -> None:
    with devices.open_shared() as device, holder(shared=True) as other:
        check(device.run_sync(executable(), [X]))
        pids = {one.pid for one in devices.list_devices()[0].status()[0].holders}
        assert other.pid in pids
        assert len(pids) == 2

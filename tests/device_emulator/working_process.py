"""Another process that runs a Program on devices when it is told to, for tests."""

import sys

import numpy as np

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
from tests.device_emulator.child_process import ChildProcess

CYCLES = 20_000_000
"""Of a run: 10 ms of the device's time,"""
COMPUTE_CYCLES = 15_000_000
"""in which it computes as long as this."""


def program(pes: int = 1) -> bytes:
    """y = 255 - x for six numbers, at the cost of a large model."""
    events = (
        Event(0, Engine.DMA, 0, CYCLES - COMPUTE_CYCLES, 6),
        Event(0, Engine.COMPUTE, CYCLES - COMPUTE_CYCLES, CYCLES, 0),
    )
    return Program(
        tensors=[
            Tensor(DType.U8, Storage.INPUT, (6,), (1,)),
            Tensor(DType.U8, Storage.CONSTANT, (256,), (1,)),
            Tensor(DType.U8, Storage.OUTPUT, (6,), (1,)),
        ],
        commands=[Command("COPY", (0, 1, 2), {}, "negation")],
        inputs=[Binding("x", DType.U8, (6,))],
        outputs=[Binding("y", DType.U8, (6,))],
        constants=bytes(reversed(range(256))),
        arena_size=0,
        schedule=Schedule("warboy", 2_000_000_000, pes, 1 << 20, events),
    ).to_bytes(checksum)


class WorkingProcess(ChildProcess):
    """Holds a device until it ends."""

    def __init__(self, spec: str) -> None:
        super().__init__("-m", __name__, spec)
        assert self.answer() == "ready"

    def run(self, times: int) -> str:
        """Runs the Program, and gives "done", or the name of the error."""
        return self.ask(str(times))


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _work(spec: str) -> None:
    values = np.arange(6, dtype=np.uint8)
    with devices.open(spec) as device:
        executable = Executable(program(2 if "-" in spec else 1))
        device.place(executable)
        say("ready")
        for line in sys.stdin:
            try:
                for _ in range(int(line)):
                    device.run_sync(executable, [values], timeout=0.2)
                say("done")
            except devices.DeviceError as error:
                say(type(error).__name__)


if __name__ == "__main__":
    _work(sys.argv[1])

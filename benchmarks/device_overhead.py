"""What a run pays for its device: turns, counters and the look for faults.

    python -m benchmarks.device_overhead [MODEL ...] [--rounds 2000] [--json]

For models with one operator, and for the given ones: the time of a run of their Program on a
device, beside that of a run without one, in bursts of both in turns on one thread, and what the
difference is to a run of the whole session. Medians, in nanoseconds.
"""

import argparse
import ctypes
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime as ort

import furiosa_ep
from benchmarks.models.synthetic import Quantized
from benchmarks.session_probe import create, zeros
from benchmarks.sessions import Row, table
from furiosa_ep import devices
from furiosa_ep.compiler import driver
from furiosa_ep.device_emulator import Executable, checksum
from furiosa_ep.device_emulator.executor import pointers
from furiosa_ep.device_emulator.library import load_library
from furiosa_ep.program import Program

BURST = 50
"""Runs in turn."""


def overhead(name: str, model: bytes, rounds: int) -> Row:
    """What a run of a model takes, with and without a device."""
    library = load_library()
    # With the timeout, which it does not look at: ctypes takes its time over each argument.
    arguments = library.furiosa_placement_run.argtypes
    run_plain = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(("furiosa_program_run", library))
    session, program = _compiled(model)
    executable = Executable(program)
    inputs = [np.zeros(one.shape, one.dtype.numpy) for one in executable.inputs]
    arrays, outputs = executable.buffers(inputs)
    buffers = (pointers(arrays), len(arrays), pointers(outputs), len(outputs))
    feeds = zeros(session)
    placement = ctypes.c_void_p()
    with devices.open_shared() as device:
        handle = device.detach()
        if library.furiosa_program_place(executable.handle, handle, ctypes.byref(placement)):
            raise SystemExit(f"{name}: no room in DRAM")
        plain, placed, whole = _bursts(
            rounds,
            lambda: run_plain(executable.handle, *buffers, 10.0),
            lambda: library.furiosa_placement_run(placement, *buffers, 10.0),
            lambda: session.run(None, feeds),
        )
    library.furiosa_placement_free(placement)
    library.furiosa_device_close(handle)
    more = median(np.subtract(placed, plain))
    return {
        "model": name,
        "plain ns": median(plain),
        "device ns": median(placed),
        "more ns": more,
        "session ns": median(whole),
        "% of session": more / median(whole) * 100,
    }


def _compiled(model: bytes) -> tuple[ort.InferenceSession, bytes]:
    """A session, and the first Program that it compiles."""
    written: list[bytes] = []
    build = driver.CompiledPartition.build

    def kept(self: driver.CompiledPartition, *arguments: Any) -> Program:
        program = build(self, *arguments)
        written.append(program.to_bytes(checksum))
        return program

    with mock.patch.object(driver.CompiledPartition, "build", kept):
        return create("NPU", model, claim="all"), written[0]


def _bursts(rounds: int, *actions: Callable[[], object]) -> list[list[float]]:
    """Nanoseconds that a call of each action takes, in each round."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for own, action in zip(times, actions, strict=True):
            start = time.perf_counter_ns()
            for _ in range(BURST):
                action()
            own.append((time.perf_counter_ns() - start) / BURST)
    return times


def _models(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    for kind, count in (("Add", 2), ("Sigmoid", 1), ("Conv", 1)):
        network = Quantized()
        yield kind, network.finish(network.add(kind, *["x"] * count))
    for path in paths:
        yield path.stem, path.read_bytes()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_overhead")
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    furiosa_ep.register()
    rows = [overhead(name, data, arguments.rounds) for name, data in _models(arguments.models)]
    print(json.dumps(rows, indent=2) if arguments.json else table(rows))


if __name__ == "__main__":
    main()

"""Processes that open devices, run on them and are killed at random, for a long time.

    python -m benchmarks.soak [--seconds 600] [--processes 8] [--cards 2] [--seed 0] [--no-faults]

Each process opens devices in one way after the other (named ones, any ones, shared ones, sessions
of ONNX Runtime), runs on them and compares every bit; it is killed with SIGKILL within two seconds
or ends by itself, and another one takes its place. Meanwhile devices fail, too. At the end no PE
may be held, no DRAM in use, no result wrong, nobody stuck, and the counters of the devices must lie
between what was begun and what was finished. The emulated host is one of its own. Prints JSON;
exits with 1 where something is not as it should be.
"""

import argparse
import contextlib
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

import furiosa_ep
from benchmarks.models.synthetic import Quantized
from furiosa_ep import devices
from furiosa_ep.compiler import driver
from furiosa_ep.device_emulator import Executable, run_reference
from furiosa_ep.program import Program

FIELDS = ("begun", "finished", "runs", "opened", "busy", "failed", "wrong")
LIFETIME = 2.0
"""The most seconds that a process lives."""
STUCK = 30.0
"""Seconds without a step after which a process is stuck."""
TIMEOUT = 0.05
"""Of runs on a device that hangs, in seconds."""
FAULT_EVERY = 0.2
"""Seconds from one fault to the next, on average."""


class Tally:
    """What one process has done, in memory that outlives it."""

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        self._counts: npt.NDArray[np.int64] = np.frombuffer(
            memory, np.int64, len(FIELDS), index * len(FIELDS) * 8
        )

    def add(self, name: str, amount: int = 1) -> None:
        """Counts."""
        self._counts[FIELDS.index(name)] += amount

    def get(self) -> dict[str, int]:
        """All counts."""
        return dict(zip(FIELDS, map(int, self._counts), strict=True))


@dataclass(frozen=True)
class Case:
    """A model with inputs, and what must come out."""

    model: bytes
    program: bytes
    inputs: list[list[npt.NDArray[Any]]]
    outputs: list[list[npt.NDArray[Any]]]
    names: list[str] = field(default_factory=list)


def make_case() -> Case:
    """A small quantized network."""
    network = Quantized()
    value = "x"
    for kind in ("Conv", "Sigmoid", "Conv"):
        value = network.add(kind, value)
    model = network.finish(network.add("Add", value, "x"))
    program = driver.CompiledPartition(model).program()
    parsed = Program.from_bytes(program)
    rng = np.random.default_rng(1)
    inputs = [
        [rng.integers(0, 256, one.shape).astype(one.dtype.numpy) for one in parsed.inputs]
        for _ in range(4)
    ]
    names = [one.name for one in parsed.inputs]
    return Case(model, program, inputs, [run_reference(parsed, one) for one in inputs], names)


Run = Callable[[int], list[npt.NDArray[Any]]]


class Worker:
    """What a process does until it is killed."""

    def __init__(self, case: Case, cards: int, tally: Tally, seed: int) -> None:
        self._case, self._tally = case, tally
        self._random = random.Random(seed)
        self._program = Executable(case.program)
        card = [f"npu{index}" for index in range(cards)]
        self._specs = [one + end for one in card for end in ("", "pe0", "pe1", "pe0-1")]
        self._specs += ["warboy*1", "warboy*2", "warboy(2)*1", ""]

    def live(self, seconds: float) -> None:
        """Opens and runs, one time after the other."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            spec = self._random.choice(self._specs)
            fused = "(2)" in spec or "-" in spec
            way = self._session if self._random.random() < 0.3 else self._device
            try:
                with way(spec) as run:
                    self._tally.add("opened")
                    self._runs(run, 2 if fused else 1)
            except devices.DeviceBusy:
                self._tally.add("busy")
            except devices.DeviceError:
                self._tally.add("failed")

    def _runs(self, run: Run, pes: int) -> None:
        for _ in range(self._random.randint(1, 40)):
            which = self._random.randrange(len(self._case.inputs))
            self._tally.add("begun", pes)
            found = run(which)
            self._tally.add("finished", pes)
            self._tally.add("runs")
            expected = self._case.outputs[which]
            if any(not np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
                self._tally.add("wrong")

    @contextlib.contextmanager
    def _device(self, spec: str) -> Iterator[Run]:
        wait = self._random.random() * 0.05
        with devices.open(spec, wait) if spec else devices.open_shared(wait=wait) as device:
            yield lambda which: device.run_sync(self._program, self._case.inputs[which], TIMEOUT)

    @contextlib.contextmanager
    def _session(self, spec: str) -> Iterator[Run]:
        options = {"claim": "all", "summary": "off", "run_timeout": str(TIMEOUT)}
        if spec:
            options["device"] = spec
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = 1
        settings.log_severity_level = 4  # faults are expected
        try:
            session = ort.InferenceSession(
                self._case.model, settings, providers=[("FuriosaProvider", options)]
            )
            names = self._case.names

            def run(which: int) -> list[npt.NDArray[Any]]:
                feeds = dict(zip(names, self._case.inputs[which], strict=True))
                return list(session.run(None, feeds))

            yield run
        except devices.DeviceError:
            raise
        except Exception as error:  # the types of ONNX Runtime's errors have no public base
            raise devices.device_error(error) or error from error


class Soak:
    """Keeps processes alive, kills them, and looks at what they leave."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._random = random.Random(arguments.seed)
        self._case = make_case()
        size = arguments.processes * len(FIELDS) * 8
        self._memory = mmap.mmap(-1, size)
        self._tallies = [Tally(self._memory, index) for index in range(arguments.processes)]
        self._born = self._killed = self._ended = self._faults = 0
        self._problems: list[str] = []

    def run(self) -> dict[str, Any]:
        """All of it; returns what happened."""
        living: dict[int, tuple[int, float]] = {}
        """By process its place, and when it is to be killed."""
        steps = [(-1, time.monotonic())] * len(self._tallies)
        end = time.monotonic() + self._arguments.seconds
        try:
            while time.monotonic() < end and not self._problems:
                places = {place for place, _ in living.values()}
                for place in set(range(len(self._tallies))) - places:
                    living[self._start(place)] = place, self._soon()
                self._bury(living)
                self._watch(steps)
                self._make_fault()
                time.sleep(0.01)
        finally:
            for process in living:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                self._killed += 1
        return self._judge()

    def _soon(self) -> float:
        return time.monotonic() + self._random.random() * LIFETIME

    def _start(self, place: int) -> int:
        self._born += 1
        seed, seconds = self._random.randrange(1 << 30), self._random.random() * 2 * LIFETIME
        process = os.fork()
        if process:
            return process
        try:
            Worker(self._case, self._arguments.cards, self._tallies[place], seed).live(seconds)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"process {os.getpid()}: {error!r}\n".encode())
            os._exit(1)

    def _bury(self, living: dict[int, tuple[int, float]]) -> None:
        for process, (_, time_to_die) in list(living.items()):
            if time.monotonic() > time_to_die:
                os.kill(process, signal.SIGKILL)
            found, status = os.waitpid(process, os.WNOHANG)
            if not found:
                continue
            del living[process]
            code = os.waitstatus_to_exitcode(status)
            self._killed += code == -signal.SIGKILL
            self._ended += code == 0
            if code not in (0, -signal.SIGKILL):
                self._problems.append(f"a process ended with {code}")

    def _watch(self, steps: list[tuple[int, float]]) -> None:
        for place, tally in enumerate(self._tallies):
            done = sum(tally.get().values())
            if done != steps[place][0]:
                steps[place] = done, time.monotonic()
            elif time.monotonic() - steps[place][1] > STUCK:
                self._problems.append(f"a process is stuck: {tally.get()}")

    def _make_fault(self) -> None:
        if self._arguments.faults and self._random.random() < 0.01 / FAULT_EVERY:
            card, pe = self._random.randrange(self._arguments.cards), self._random.randrange(2)
            devices.inject(self._random.choice(list(devices.Fault)), f"npu{card}pe{pe}")
            self._faults += 1

    def _judge(self) -> dict[str, Any]:
        done = {name: sum(one.get()[name] for one in self._tallies) for name in FIELDS}
        if done["wrong"]:
            self._problems.append(f"{done['wrong']} results are wrong")
        executions = 0
        for card in devices.list_devices():
            executions += sum(one.executions for one in card.counters())
            if card.dram_used:
                self._problems.append(f"{card.name}: {card.dram_used} bytes of DRAM are in use")
            for one in card.status():
                if one.foreign or one.holders:
                    self._problems.append(f"{one.name} is held by {one.holders}")
        if not done["finished"] <= executions <= done["begun"]:
            self._problems.append(f"devices count {executions} executions: {done}")
        self._run_after_all()
        return {
            "seconds": self._arguments.seconds,
            "processes": self._born,
            "killed": self._killed,
            "ended": self._ended,
            "faults": self._faults,
            "executions": executions,
            **done,
            "problems": self._problems,
        }

    def _run_after_all(self) -> None:
        """Every device works for one more run."""
        devices.clear()
        program = Executable(self._case.program)
        for card in devices.list_devices():
            with devices.open(f"{card.name}pe0-1") as device:
                found = device.run_sync(program, self._case.inputs[0])
            if not all(map(np.array_equal, found, self._case.outputs[0])):
                self._problems.append(f"{card.name} gives a wrong result after all")


def main() -> int:
    """Soak, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("FURIOSA_DEVICES", "NPU_DEVNAME", "FURIOSA_INJECT"):
            os.environ.pop(name, None)
        os.environ["FURIOSA_EMULATED_HOST"] = folder
        os.environ["FURIOSA_EMULATED_DEVICES"] = str(arguments.cards)
        furiosa_ep.register()
        result = Soak(arguments).run()
    print(json.dumps(result, indent=2))
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())

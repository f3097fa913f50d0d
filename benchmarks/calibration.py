"""What calibration costs beside bare inference of the float model on the same samples.

    python -m benchmarks.calibration [--models resnet50] [--calibrators extremes mse]
        [--samples 1000]

Bare inference is what a loop of one's own does: a session of ONNX Runtime's CPU provider with its
default options, one sample at a time. It and each calibrator take turns of a few samples, so that
what slows the machine down slows all of them down, and times are medians of turns. The ratio is
that of a whole calibration of all samples to bare inference of them: the first adds the making of
the session and the search for ranges to its turns, the second counts turns alone. The peak is the
memory of a process that does nothing but calibrate so many samples.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from statistics import median

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.bursts import settle
from benchmarks.models import TOPOLOGIES
from benchmarks.session_probe import megabytes
from benchmarks.sessions import table
from furiosa_ep.quantization import calibrate
from furiosa_ep.quantization.calibration import Calibration, find_calibrator
from furiosa_ep.quantization.prepare import prepare_model
from furiosa_ep.quantization.quantizer import calibrated_values
from furiosa_ep.quantization.samples import Feed
from furiosa_ep.quantization.units import find_scheme

TURN = 50
"""Samples in a turn: so many that it counts for little that the last ones have nothing beside
them."""
Row = dict[str, float | str]
Feeds = Iterator[Feed]
Action = Callable[[Feeds], None]


def samples(model: onnx.ModelProto, count: int) -> Feeds:
    """So many samples; every 16th one is like another, but for its magnitude."""
    (value,) = model.graph.input
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    few = [np.random.default_rng(i).normal(size=shape).astype(np.float32) for i in range(16)]
    for number in range(count):
        yield {value.name: few[number % len(few)] * np.float32(0.8 + 0.4 * number / count)}


def bare(model: onnx.ModelProto) -> Action:
    """Runs the model on samples as a loop of one's own does."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(feeds: Feeds) -> None:
        for feed in feeds:
            session.run(None, feed)

    return run


class Run:
    """A calibration in turns."""

    def __init__(self, model: onnx.ModelProto, calibrator: str) -> None:
        start = time.perf_counter()
        scheme = find_scheme(prepare_model(model))
        values = calibrated_values(scheme)
        self._calibration = Calibration(scheme.model, values, find_calibrator(calibrator))
        self.around = time.perf_counter() - start
        """Seconds that all but the turns took."""

    def __call__(self, feeds: Feeds) -> None:
        """Take a turn."""
        self._calibration.collect(feeds)
        self._calibration.wait()

    def finish(self) -> None:
        """Find the ranges."""
        start = time.perf_counter()
        self._calibration.ranges()
        self.around += time.perf_counter() - start


def race(name: str, calibrators: list[str], count: int) -> Iterator[Row]:
    """A row for each calibrator."""
    model = TOPOLOGIES[name]()
    runs = {calibrator: Run(model, calibrator) for calibrator in calibrators}
    times = in_turns({"bare": bare(model), **runs}, partial(samples, model, count))
    bare_time = median(times["bare"])
    for calibrator, run in runs.items():
        run.finish()
        turn = median(times[calibrator])
        yield {
            "model": name,
            "calibrator": calibrator,
            "bare ms": bare_time * 1e3,
            "turns ms": turn * 1e3,
            "around s": run.around,
            "ratio": (turn + run.around / count) / bare_time,
            "peak MB": peak(name, calibrator, count),
        }


def in_turns(runs: Mapping[str, Action], data: Callable[[], Feeds]) -> dict[str, list[float]]:
    """The seconds for a sample in each turn of each run."""
    feeds = {name: data() for name in runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    while turn := {name: found for name in order if (found := list(islice(feeds[name], TURN)))}:
        for name in order:
            settle()
            start = time.perf_counter()
            runs[name](iter(turn[name]))
            times[name].append((time.perf_counter() - start) / len(turn[name]))
        order = [*order[1:], order[0]]  # nobody always follows the same one
    return times


def peak(name: str, calibrator: str, count: int) -> float:
    """Megabytes (2^20 bytes) of a process that calibrates alone."""
    command = [sys.executable, "-m", "benchmarks.calibration", "--alone", name, calibrator]
    done = subprocess.run(
        [*command, "--samples", str(count)], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration")
    parser.add_argument("--models", nargs="+", choices=list(TOPOLOGIES), default=["resnet50"])
    parser.add_argument("--calibrators", nargs="+", default=["extremes", "mse"])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        name, calibrator = arguments.alone
        model = TOPOLOGIES[name]()
        calibrate(model, samples(model, arguments.samples), calibrator)
        print(megabytes("VmHWM"))
        return
    rows = [
        row
        for name in arguments.models
        for row in race(name, arguments.calibrators, arguments.samples)
    ]
    print(table(rows))


if __name__ == "__main__":
    main()

"""What a session costs on FuriosaProvider beside CPUExecutionProvider, apart from its speed.

    python -m benchmarks.sessions [--models resnet50 ...] [--rounds 5] [--json]

Three tables, of medians:

- *sessions*: the time to create the first session of a process, the peak of the process's memory
  once it has run, and the time and memory of a second session of the model. Every measurement is a
  process of its own (benchmarks.session_probe), both providers' in turns, with the same imports.
- *chains*: the time to create sessions of synthetic networks of up to 10,000 nodes, for each node,
  which stays the same where creation takes linear time. `compiler` is the share of the partitioner,
  the compiler and the executor.
- *one node*: the time of a run of a model with one operator, in bursts of both providers in turns.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import onnxruntime as ort

import furiosa_ep
from benchmarks.models import TOPOLOGIES
from benchmarks.models.synthetic import NETWORKS, Quantized
from benchmarks.prepare import prepare
from benchmarks.session_probe import create, zeros
from furiosa_ep.compiler import driver
from furiosa_ep.device_emulator import Executable
from furiosa_ep.options import Options

PROBE = "benchmarks.session_probe"
MODELS = ("resnet50", "mobilenet_v2", "yolov8n")
SIZES = (1_250, 2_500, 5_000, 10_000)
BURST = 200
"""Runs of a one-node model in turn."""
RUNS = 10_000
Row = dict[str, float | str]
Network = Callable[[int], bytes]


def sessions(models: list[str], rounds: int, folder: Path) -> Iterator[Row]:
    """Creation and memory, a row for each model."""
    with cached_bytecode() as environment:
        for name in models:
            path = folder / f"{name}.onnx"
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(prepare(name, 1, "uint8", folder))
            found: dict[str, list[dict[str, float]]] = {"CPU": [], "NPU": []}
            for turn in range(rounds + 1):
                for provider, results in found.items():
                    result = probe(provider, path, environment)
                    if turn:  # the first one fills the caches
                        results.append(result)
            row: Row = {"model": name}
            for key, unit, factor in (
                ("cold", "ms", 1e3), ("peak", "MB", 1), ("second", "ms", 1e3), ("added", "MB", 1),
            ):  # fmt: skip
                cpu, npu = (median(one[key] for one in found[which]) for which in found)
                row[f"{key} CPU {unit}"], row[f"{key} NPU {unit}"] = cpu * factor, npu * factor
                if key in ("cold", "peak"):
                    row[f"{key} ratio"] = npu / cpu
            yield row


@contextlib.contextmanager
def cached_bytecode() -> Iterator[dict[str, str]]:
    """An environment as for installed packages: processes keep modules compiled."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        yield environment


def probe(provider: str, model: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """What benchmarks.session_probe measures, in a process of its own."""
    command = [sys.executable, "-m", PROBE, provider, str(model)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def chains(rounds: int) -> Iterator[Row]:
    """Microseconds a node, a row for each network and size."""
    options = Options.parse({"claim": "all"})
    for build in NETWORKS:
        for size in SIZES:
            data = build(size)
            nodes = len(onnx.load_model_from_string(data).graph.node)
            actions = {
                "CPU": partial(create, "CPU", data),
                "NPU": partial(create, "NPU", data, claim="all"),
                "compiler": partial(_compile, data, options),
            }
            row: Row = {"network": build.__name__, "nodes": float(nodes)}
            for name, times in _in_turns(actions, rounds).items():
                row[f"{name} us/node"] = min(times) / nodes * 1e6
            yield row


def one_node(runs: int) -> Iterator[Row]:
    """Microseconds a run, a row for each operator."""
    for kind, count in (("Conv", 1), ("Add", 2), ("Sigmoid", 1)):
        network = Quantized()
        data = network.finish(network.add(kind, *["x"] * count))
        pair = {which: create(which, data, claim="all") for which in ("CPU", "NPU")}
        bursts = {which: partial(_burst, one, zeros(one)) for which, one in pair.items()}
        times = _in_turns(bursts, runs // BURST)
        cpu, npu = (median(own) / BURST * 1e6 for own in times.values())
        yield {"operator": kind, "CPU us": cpu, "NPU us": npu, "more us": npu - cpu}


def _burst(session: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> None:
    for _ in range(BURST):
        session.run(None, feeds)


def _compile(data: bytes, options: Options) -> None:
    driver.partition_model(data, options)
    Executable(driver.CompiledPartition(data).program())


def _in_turns(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The seconds that each action takes in each round."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - start)
    return times


def table(rows: list[Row]) -> str:
    """Rows as a table with a line of headings."""
    cells = [list(rows[0]), *([_cell(one) for one in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.rjust, line, widths)) for line in cells)


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sessions")
    parser.add_argument("--models", nargs="+", choices=list(TOPOLOGIES), default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["sessions", "chains", "one_node"])
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--folder", type=Path, default=Path("build/bench/models"))
    arguments = parser.parse_args()
    furiosa_ep.register()
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "sessions": partial(sessions, arguments.models, arguments.rounds, arguments.folder),
        "chains": partial(chains, min(arguments.rounds, 2)),
        "one_node": partial(one_node, RUNS),
    }
    found = {n: list(part()) for n, part in parts.items() if arguments.only in (None, n)}
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n\n".join(table(rows) for rows in found.values()))


if __name__ == "__main__":
    main()

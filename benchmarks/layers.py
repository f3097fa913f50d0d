"""Where the time of a model goes: every command of its Programs, beside the roof.

    python -m benchmarks.layers resnet50 [--kind uint8] [--threads 1] [--sort lost] [--top 20]

For each command: its time (the median of some rounds), its share of all commands' time, how much
of the measured peak of vpdpbusd it reaches, the time that it takes beyond what its multiplications
take at that peak, the bytes of its operands a nanosecond, and the nodes that it came from. A model
of the race by its name, or the file of a quantized one.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime as ort

import furiosa_ep
from benchmarks.bursts import measure
from benchmarks.models import TOPOLOGIES
from benchmarks.peak import Peak
from benchmarks.prepare import KINDS, prepare
from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.device_emulator import checksum
from furiosa_ep.device_emulator.profiling import CommandTime, profile_commands
from furiosa_ep.program import Program


@dataclass(frozen=True)
class Layer:
    """One command of a Program."""

    command: CommandTime
    roof: float
    """Nanoseconds that its multiplications take at the measured peak."""
    bytes: int
    """Of its operands and its result."""

    @property
    def lost(self) -> float:
        """Nanoseconds beyond the roof."""
        return self.command.nanoseconds - self.roof

    @property
    def kind(self) -> str:
        """The opcode; for a convolution also its window, and whether it is depthwise."""
        if self.command.opcode != "CONV":
            return self.command.opcode
        x, w = self.command.shapes[0] or (), self.command.shapes[1] or ()
        depthwise = " depthwise" if w[3] == 1 and x[3] > 1 and w[0] == x[3] else ""
        return f"CONV {w[1]}x{w[2]}{depthwise}"


def profile(model: bytes, rate: float, threads: int, rounds: int) -> list[Layer]:
    """The commands of all Programs of a model, where `rate` is the peak in MACs a nanosecond."""
    furiosa_ep.register()
    layers = []
    with recorded_programs() as programs:
        ort.InferenceSession(model, providers=["FuriosaProvider", "CPUExecutionProvider"])
    for program in programs:
        parsed = Program.from_bytes(program)
        inputs = [
            _random(binding.dtype.numpy, binding.shape, seed)
            for seed, binding in enumerate(parsed.inputs)
        ]
        for command in profile_commands(program, inputs, rounds, threads):
            operands = parsed.commands[command.index].operands
            tensors = [parsed.tensors[one] for one in operands if one is not None]
            size = sum(math.prod(tensor.dims) * tensor.dtype.numpy.itemsize for tensor in tensors)
            layers.append(Layer(command, command.multiply_accumulates / rate, size))
    return layers


@contextmanager
def recorded_programs() -> Iterator[list[bytes]]:
    """A list that grows by each Program that a session compiles meanwhile."""
    programs: list[bytes] = []
    original = CompiledPartition.build

    def build(self: CompiledPartition, *arguments: Any) -> Program:
        program = original(self, *arguments)
        programs.append(program.to_bytes(checksum))
        return program

    with mock.patch.object(CompiledPartition, "build", build):
        yield programs


def _random(dtype: np.dtype, shape: Sequence[int], seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def table(layers: Sequence[Layer], sort: str, top: int) -> str:
    """Markdown: totals for each kind of command, then the commands."""
    total = sum(layer.command.nanoseconds for layer in layers)
    roof = sum(layer.roof for layer in layers)
    lines = [
        f"{len(layers)} commands, {total / 1e3:.0f} us, {roof / total:.1%} of the peak",
        "",
        "| kind | commands | us | of the time | of the peak | us beyond the roof |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    kinds: dict[str, list[Layer]] = {}
    for layer in layers:
        kinds.setdefault(layer.kind, []).append(layer)
    sums = {kind: sum(one.command.nanoseconds for one in group) for kind, group in kinds.items()}
    for kind in sorted(kinds, key=lambda kind: -sums[kind]):
        least = sum(layer.roof for layer in kinds[kind])
        lines.append(
            f"| {kind} | {len(kinds[kind])} | {sums[kind] / 1e3:.1f} | {sums[kind] / total:.1%} "
            f"| {least / sums[kind]:.1%} | {(sums[kind] - least) / 1e3:.1f} |"
        )
    lines += [
        "",
        "| # | command | result | us | of the time | of the peak | us beyond | GB/s | nodes |",
        "|---:|---|---|---:|---:|---:|---:|---:|---|",
    ]
    keys = {
        "order": lambda layer: layer.command.index,
        "time": lambda layer: -layer.command.nanoseconds,
        "lost": lambda layer: -layer.lost,
    }
    for layer in sorted(layers, key=keys[sort])[: top or None]:
        command = layer.command
        time = command.nanoseconds
        result = "x".join(map(str, command.shapes[-1] or ()))
        lines.append(
            f"| {command.index} | {layer.kind} | {result} | {time / 1e3:.1f} | {time / total:.1%} "
            f"| {layer.roof / time:.1%} | {layer.lost / 1e3:.1f} | {layer.bytes / time:.1f} "
            f"| {command.name} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Profile one model and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description="per layer")
    parser.add_argument("model", help=f"a file, or one of {', '.join(TOPOLOGIES)}")
    parser.add_argument("--kind", choices=KINDS[:2], default="uint8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--sort", choices=["order", "time", "lost"], default="order")
    parser.add_argument("--top", type=int, default=0, help="print so many commands; 0 for all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    Peak.add_argument(parser)
    parser.add_argument("--models", type=Path, default=Path("build/bench/models"))
    arguments = parser.parse_args()
    peak = Peak.of(arguments, parser)
    if arguments.model in TOPOLOGIES:
        model = prepare(arguments.model, 1, arguments.kind, arguments.models)
    elif Path(arguments.model).is_file():
        model = Path(arguments.model).read_bytes()
    else:
        parser.error(f"{arguments.model}: neither a file nor one of {', '.join(TOPOLOGIES)}")
    threads: int = arguments.threads
    rate = math.inf
    if peak.available:
        timing = measure({"peak": peak.runner(threads)}, threads, 0.5)["peak"]
        rate = peak.rate(threads, timing.median) / 1e9
    layers = profile(model, rate, threads, arguments.rounds)
    if arguments.json:
        print(json.dumps({"peak": rate, "layers": [asdict(layer) for layer in layers]}, indent=1))
    else:
        print(table(layers, arguments.sort, arguments.top))


if __name__ == "__main__":
    main()

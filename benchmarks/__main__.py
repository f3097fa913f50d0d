"""The race: FuriosaProvider beside ONNX Runtime's CPU provider and OpenVINO.

    python -m benchmarks [--models resnet50 ...] [--seconds 20] [--latency-only]

Prints a table for every setting (one and two threads, batch 1 and 8, two sessions side by side)
and writes results.json, results.md and results.svg. `make bench` builds what it needs.
"""

import argparse
import sys
from pathlib import Path

import furiosa_ep
from benchmarks import report
from benchmarks.engines import ENGINES
from benchmarks.models import TOPOLOGIES
from benchmarks.peak import Peak
from benchmarks.race import LATENCY, NPU, THROUGHPUT, Race, run


def main() -> None:
    """Race, and report after every model, so that what was measured survives an interruption."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="the race")
    parser.add_argument("--models", nargs="+", choices=list(TOPOLOGIES), default=list(TOPOLOGIES))
    parser.add_argument("--engines", nargs="+", default=[""], help="parts of their names")
    parser.add_argument("--seconds", type=float, default=20, help="for each model and setting")
    parser.add_argument("--latency-only", action="store_true", help="batch 1, one session")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    Peak.add_argument(parser)
    arguments = parser.parse_args()
    engines = [
        engine
        for engine in ENGINES
        if engine.name == NPU or any(part in engine.name for part in arguments.engines)
    ]
    if not any(engine.is_peer for engine in engines):
        parser.error("--engines: none of the peers is named so")
    peak = Peak.of(arguments, parser)
    furiosa_ep.register()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    settings = LATENCY if arguments.latency_only else LATENCY + THROUGHPUT
    races: list[Race] = []
    for race in run(
        arguments.models,
        settings,
        engines,
        peak,
        arguments.seconds,
        output / "models",
    ):
        races.append(race)
        print(f"{race.setting}: {race.model} {race.ratio:.2f}", file=sys.stderr, flush=True)
        (output / "results.json").write_text(report.to_json(races))
        (output / "results.md").write_text(report.table(races) + "\n")
    report.plot(races, output / "results.svg")
    print(report.table(races))


if __name__ == "__main__":
    main()

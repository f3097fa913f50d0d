"""What quantization costs in accuracy, as tables of docs/quantization.md.

    python -m benchmarks.accuracy [--presets default ...] [--tasks ResNet8 ...] [--limit 200]

Quantizes trained models with presets of `quantize_model`, and with each calibrator of ONNX
Runtime's `quantize_static` on the same images, and measures what is left of their accuracy, on
images that none was calibrated on. Then networks that are hard to quantize, and what they lose
beside plain min-max. Says which demands a preset does not meet, and writes results.json and
results.md, with --write docs/quantization.md as well. The trained models and their images are
those of ../shared/models.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.accuracy import report
from benchmarks.accuracy.hard_cases import hard_tasks
from benchmarks.accuracy.measure import Row, measure
from benchmarks.accuracy.quantizers import hard_quantizers, quantizers
from benchmarks.accuracy.suite import real_tasks
from furiosa_ep.quantization import PRESETS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quantization.md"


def main() -> None:
    """Measure, and report after every task, so that it survives an interruption."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    names = [name for name in ("default", "best") if name in PRESETS]
    parser.add_argument("--presets", nargs="*", default=names, metavar="NAME")
    parser.add_argument("--tasks", nargs="+", default=[""], help="parts of their names")
    parser.add_argument("--limit", type=int, help="test images of a task")
    parser.add_argument("--ours", action="store_true", help="without ONNX Runtime's quantizer")
    parser.add_argument("--write", action="store_true", help=f"the tables of {PAGE.name}")
    parser.add_argument("--output", type=Path, default=Path("build/accuracy"))
    arguments = parser.parse_args()
    makers, hard_makers = quantizers(arguments.presets), hard_quantizers(arguments.presets)
    if arguments.ours:
        makers = {name: maker for name, maker in makers.items() if name in arguments.presets}
    tasks = [
        task
        for task in (*real_tasks(arguments.limit), *hard_tasks())
        if any(part.lower() in task.name.lower() for part in arguments.tasks)
    ]
    if not tasks:
        parser.error("--tasks: none is named so; those on trained models need ../shared/models")
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for task in tasks:
        rows.append(measure(task, hard_makers if task.hard else makers, output / "models"))
        print(report.tables(rows[-1:]), file=sys.stderr, flush=True)
        (output / "results.json").write_text(report.to_json(rows))
        (output / "results.md").write_text(report.tables(rows) + "\n")
    print(report.tables(rows))
    for preset in arguments.presets:
        print(f"\nNot met by {preset!r}:", *report.missed(rows, preset), sep="\n  ")
    if arguments.write:
        report.write(PAGE, report.tables(rows))


if __name__ == "__main__":
    main()

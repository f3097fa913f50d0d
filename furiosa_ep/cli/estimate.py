"""Estimate what a model takes on a real device: latency, throughput, utilisation, energy, memory.

  furiosa estimate model.onnx --target warboy-2pe
  furiosa estimate model.onnx --batch 8 --workers 4 --devices 2
  furiosa estimate model.onnx --memory-report report.html

A float model is estimated as if it were quantized whole. Nothing is run, and no device is needed.
"""

import argparse
from pathlib import Path

from furiosa_ep.cli.data import positive
from furiosa_ep.cli.options import add_provider_options, add_shape_options
from furiosa_ep.partitioner.descriptors import CommandError

NAME = "estimate"
HELP = "tell what a model takes on a real device"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", type=Path, help="quantized or float")
    parser.add_argument(
        "--target", default="warboy", help="warboy, one processing element, or warboy-2pe (warboy)"
    )
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="samples of one inference (the model's, or 1)"
    )
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="inferences at a time (1)"
    )
    parser.add_argument(
        "--devices",
        type=positive,
        default=1,
        metavar="N",
        help="targets that work in parallel, like both processing elements of a card (1)",
    )
    parser.add_argument(
        "--float-inputs",
        action="store_true",
        help="let the host quantize the inputs of a float model, instead of taking bytes",
    )
    add_shape_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON (docs/estimate.md)")
    parser.add_argument("--layers", action="store_true", help="show all layers in their order")
    parser.add_argument(
        "--memory-report",
        type=Path,
        metavar="FILE.html",
        help="write a page that shows what lies where in SRAM when",
    )
    add_provider_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Estimate, and show the figures."""
    from furiosa_ep.estimation import EstimateError, estimate

    if not arguments.model.is_file():
        raise CommandError(f"no model file {arguments.model}")
    try:
        found = estimate(
            arguments.model,
            arguments.target,
            arguments.batch,
            arguments.workers,
            dict(arguments.shape),
            devices=arguments.devices,
            float_inputs=arguments.float_inputs,
            options=dict(arguments.option),
        )
    except EstimateError as error:
        raise CommandError(f"{arguments.model}: {error}") from error
    if arguments.memory_report is not None:
        page = found.memory_report(arguments.model.name)
        try:
            arguments.memory_report.write_text(page, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {arguments.memory_report}: {error}") from error
    print(
        found.to_json() if arguments.json else found.table(layers=None if arguments.layers else 10)
    )
    return 0

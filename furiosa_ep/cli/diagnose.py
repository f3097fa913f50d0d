"""Tell where a quantized model loses accuracy, and what to do about it.

  furiosa diagnose model.onnx quantized.onnx --data samples
  furiosa diagnose model.onnx quantized.onnx --data samples -o diagnosis.html

Runs both models on the samples, which should not be those of the calibration.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from furiosa_ep.cli.data import add_data_options, data_of, positive
from furiosa_ep.partitioner.descriptors import CommandError

if TYPE_CHECKING:
    from furiosa_ep.quantization.diagnosis import Diagnosis

NAME = "diagnose"
HELP = "tell where a quantized model loses accuracy, and what to do about it"

FORMATS = ("table", "json", "html")
SAMPLES = 32


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", type=Path, help="the float model")
    parser.add_argument("quantized", type=Path, help="what was made of it")
    parser.add_argument(
        "--format", choices=FORMATS, help="of what is shown (that of FILE's ending, or table)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write instead of print")
    parser.add_argument(
        "--top", type=positive, default=10, metavar="N", help="layers in the table (10)"
    )
    add_data_options(parser, "--data", SAMPLES)


def execute(arguments: argparse.Namespace) -> int:
    """Diagnose, and show what was found."""
    from furiosa_ep.quantization import QuantizationError
    from furiosa_ep.quantization.diagnosis import diagnose
    from furiosa_ep.quantization.loading import load_model

    for path in (arguments.model, arguments.quantized):
        if not path.is_file():
            raise CommandError(f"no model file {path}")
    if arguments.data is None and arguments.random is None:
        raise CommandError("nothing to run the models on: give --data or --random")
    try:
        model = load_model(arguments.model)
        data = data_of(arguments, model)
        found = diagnose(model, arguments.quantized, data, limit=arguments.limit)
    except QuantizationError as error:
        raise CommandError(f"{arguments.model}, {arguments.quantized}: {error}") from error
    shown = _shown(found, arguments)
    try:
        if arguments.output is None:
            print(shown)
        else:
            arguments.output.write_text(shown + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {arguments.output}: {error}") from error
    if arguments.data is None:
        print("WARNING    the samples were random: these figures mean nothing", file=sys.stderr)
    return 0


def _shown(found: "Diagnosis", arguments: argparse.Namespace) -> str:
    ending = arguments.output.suffix.removeprefix(".") if arguments.output else ""
    match arguments.format or (ending if ending in FORMATS else "table"):
        case "json":
            return found.to_json()
        case "html":
            return found.to_html(arguments.quantized.name)
    return found.table(arguments.top)

"""Show for each node of a model where it runs, and why not on the NPU."""

import argparse
from pathlib import Path

from furiosa_ep.cli.options import add_provider_options
from furiosa_ep.partitioner.descriptors import CommandError

NAME = "explain"
HELP = "show which nodes of a model run on the NPU, and why not the others"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_provider_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print the explanation."""
    import furiosa_ep

    if not arguments.model.is_file():
        raise CommandError(f"no model file {arguments.model}")
    try:
        explanation = furiosa_ep.explain(arguments.model, dict(arguments.option))
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise CommandError(f"{arguments.model}: {error}") from error
    print(explanation.to_json() if arguments.json else explanation.table())
    return 0

"""Reads the command line and calls the subcommand."""

import argparse
import sys
from collections.abc import Sequence

from furiosa_ep.cli import doctor, explain, run, verify
from furiosa_ep.cli.errors import CommandError

COMMANDS = (explain, verify, doctor, run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``furiosa`` with these arguments, by default the process's own; give the exit code.

    0 is success, 1 a check that failed, 2 a usage or input error, which goes to stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="furiosa", description="Quantized ONNX models on an emulated Warboy NPU."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(subparser)
        subparser.set_defaults(execute=command.execute)
    if arguments[:1] == [run.NAME]:  # what follows the program belongs to the program
        own, program = run.split(arguments[1:])
        parsed = parser.parse_args([run.NAME, *own])
        parsed.program = program
    else:
        parsed = parser.parse_args(arguments)
    try:
        code: int = parsed.execute(parsed)
    except CommandError as error:
        print(f"furiosa: {error}", file=sys.stderr)
        return 2
    return code

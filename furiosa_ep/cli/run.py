"""Run an unchanged ONNX Runtime program on the NPU.

  furiosa run script.py arguments...
  furiosa run -m module arguments...

The program behaves as under `python`, and so does every Python process that it starts, but each
InferenceSession has FuriosaProvider first, whichever providers the program names. At the end a
summary goes to stderr.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from furiosa_ep.cli.options import add_provider_options
from furiosa_ep.intercept.settings import Settings
from furiosa_ep.partitioner.descriptors import CommandError

NAME = "run"
HELP = "run an unchanged ONNX Runtime program on the NPU"

_WITH_VALUE = ("--option", "--report")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.usage = "furiosa run [options] {script.py | -m module | command} [arguments...]"
    parser.add_argument(
        "--verify",
        action="store_true",
        help="repeat every run on the CPU provider, compare all bits and both times",
    )
    parser.add_argument(
        "--report", metavar="FILE", help="append the summary of each process to FILE as JSON"
    )
    add_provider_options(parser)


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of ``furiosa run`` itself, and the program with its own."""
    own: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("--"):
        own.append(rest.pop(0))
        if own[-1] == "--":
            return own[:-1], rest
        if own[-1] in _WITH_VALUE and rest:
            own.append(rest.pop(0))
    if rest[:1] == ["-h"]:
        own.append(rest.pop(0))
    return own, rest


def execute(arguments: argparse.Namespace) -> int:
    """Become the program; returns only where it cannot be started."""
    program: list[str] = arguments.program
    if not program:
        raise CommandError("no program to run; give a script, -m module, or an installed command")
    settings = Settings(
        options=dict(arguments.option),
        verify=arguments.verify,
        report=arguments.report and str(Path(arguments.report).resolve()),
    )
    command = [sys.executable, *program]
    if not program[0].startswith("-") and not Path(program[0]).exists():
        installed = shutil.which(program[0])
        if installed is None:
            raise CommandError(f"no script and no installed command {program[0]!r}")
        command = [installed, *program[1:]]
    sys.stdout.flush()
    os.execve(command[0], command, settings.environment(os.environ))

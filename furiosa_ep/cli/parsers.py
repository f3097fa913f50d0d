"""Parsers of commands and of their subcommands."""

import argparse
from types import ModuleType
from typing import Any

from furiosa_ep.partitioner.descriptors import CliCommand


def command_of(module: ModuleType) -> CliCommand:
    """The command that a module of this package is, with NAME, HELP, configure and execute.

    Its docstring is the description; `split` it need not have.
    """
    return CliCommand(
        module.NAME,
        module.HELP,
        module.configure,
        module.execute,
        module.__doc__ or "",
        getattr(module, "split", None),
    )


def add_parser(subparsers: Any, command: CliCommand) -> argparse.ArgumentParser:
    """The parser of a command, among those of its parent, without the command's arguments."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        command.name,
        help=str(command.help).replace("%", "%%"),
        description=command.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser

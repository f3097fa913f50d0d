"""Show, check and write plugins: what teaches the NPU operators, kernels, passes and more."""

import argparse

from furiosa_ep.cli.parsers import add_parser, command_of
from furiosa_ep.cli.plugins import check, new
from furiosa_ep.cli.plugins import list as listing

NAME = "plugins"
HELP = "show the plugins and what each gives, check one, write one"

COMMANDS = tuple(map(command_of, (listing, check, new)))


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = add_parser(subparsers, command)
        command.configure(subparser)
        subparser.set_defaults(execute=command.execute)


def execute(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    code: int = arguments.execute(arguments)
    return code

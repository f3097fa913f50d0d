"""Reads the command line and calls the command."""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence

from furiosa_ep.cli.commands import COMMANDS
from furiosa_ep.cli.ending import exit_code
from furiosa_ep.cli.parsers import add_parser
from furiosa_ep.partitioner import environment
from furiosa_ep.partitioner.descriptors import CliCommand, CommandError

DEBUG = "--debug"
_NONE = f"{environment.DISABLED} leaves out {environment.BUILT_IN}, which has the usual ones"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``furiosa`` with these arguments, by default the process's own; give the exit code.

    0 is success, 1 a check or a plugin that failed, 2 a usage or input error; errors go to stderr.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    return exit_code("furiosa", lambda: _run(given))


def _run(arguments: list[str]) -> int:
    options = list(itertools.takewhile(lambda word: word.startswith("-"), arguments))
    name, rest = "", arguments[len(options) :]
    if rest:
        name, *rest = rest
    commands = _commands(name)
    parser, subparsers = _parser(commands)
    if not name:
        parser.parse_args(options)  # prints help, or says that a command is missing
    if name not in commands:
        known = f"there are {', '.join(commands)}" if commands else _NONE
        parser.error(f"no command {name!r}: {known}")
    command = commands[name]
    with _failure_told(command, debug=DEBUG in options):
        command.configure(subparsers[name])
        own, program = command.split(rest) if command.split else (rest, None)
        parsed = parser.parse_args([*options, name, *own])
        if program is not None:  # what follows the program belongs to the program
            parsed.program = program
        return command.execute(parsed)


def _commands(name: str) -> Mapping[str, CliCommand]:
    """The commands among which `name` is looked for.

    A built-in command's name is never another's: it is found without loading plugins, which would
    take longer than most commands take to start.
    """
    if environment.BUILT_IN not in environment.disabled():
        built_in = {command.name: command for command in COMMANDS}
        if name in built_in:
            return built_in
    from furiosa_ep.partitioner.plugins import registry
    from furiosa_ep.partitioner.registry import PluginError

    try:
        return registry().named("furiosa_commands")
    except PluginError as error:  # in strict mode
        raise CommandError(str(error), code=1) from error


def _parser(
    commands: Mapping[str, CliCommand],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of ``furiosa``, and those of its commands, not yet configured."""
    parser = argparse.ArgumentParser(
        prog="furiosa",
        description="Quantized ONNX models on an emulated Warboy NPU.",
        epilog=None if commands else f"There are no commands: {_NONE}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        DEBUG, action="store_true", help="show the traceback where a plugin's command fails"
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    return parser, {name: add_parser(subparsers, one) for name, one in commands.items()}


@contextlib.contextmanager
def _failure_told(command: CliCommand, *, debug: bool) -> Iterator[None]:
    """Says which plugin has failed; what goes wrong in a built-in command is a defect of ours."""
    try:
        yield
    except (CommandError, BrokenPipeError):
        raise
    except Exception as error:
        if debug or command.owner in ("", environment.BUILT_IN):
            raise
        raise CommandError(
            f"command {command.name!r} of plugin {command.owner!r} failed: "
            f"{type(error).__name__}: {error}; furiosa {DEBUG} {command.name} ... shows where",
            code=1,
        ) from error

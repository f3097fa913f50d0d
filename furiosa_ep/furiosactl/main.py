"""Reads the command line and calls the command."""

import argparse
from collections.abc import Sequence

from furiosa_ep.cli.ending import exit_code
from furiosa_ep.cli.parsers import add_parser, command_of
from furiosa_ep.device_emulator.devices.errors import DeviceError
from furiosa_ep.device_emulator.library import LibraryError
from furiosa_ep.furiosactl import info, inject, listing, ps, reset, top, version
from furiosa_ep.partitioner.descriptors import CommandError

COMMANDS = tuple(map(command_of, (info, listing, ps, top, inject, reset, version)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``furiosactl`` with these arguments, by default the process's own; give the exit code.

    0 is success, 1 a device or a host that cannot do it, 2 a usage error; errors go to stderr.
    """
    parser = argparse.ArgumentParser(
        prog="furiosactl",
        description="Looks at the devices of the emulated host, and injects faults into them.",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = add_parser(subparsers, command)
        command.configure(subparser)
        subparser.set_defaults(execute=command.execute)
    return exit_code("furiosactl", lambda: _run(parser, arguments))


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    parsed = parser.parse_args(arguments)
    try:
        code: int = parsed.execute(parsed)
    except (DeviceError, LibraryError) as error:
        raise CommandError(str(error), code=1) from error
    return code

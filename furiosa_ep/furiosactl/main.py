"""Reads the command line and calls the command."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from furiosa_ep.cli.parsers import add_parser, command_of
from furiosa_ep.device_emulator.devices.errors import DeviceError
from furiosa_ep.device_emulator.library import LibraryError
from furiosa_ep.furiosactl import info, inject, listing, ps, reset, top, version
from furiosa_ep.partitioner.descriptors import CommandError

COMMANDS = tuple(map(command_of, (info, listing, ps, top, inject, reset, version)))
_CLOSED_PIPE = 141
"""The exit code that a shell gives to commands whose reader has gone."""


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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        parsed = parser.parse_args(arguments)
        code: int = parsed.execute(parsed)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (DeviceError, LibraryError, CommandError) as error:
        print(f"furiosactl: {error}", file=sys.stderr)
        return error.code if isinstance(error, CommandError) else 1
    except BrokenPipeError:
        # What is left in the buffer must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except OSError as error:
        print(f"furiosactl: cannot write: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code

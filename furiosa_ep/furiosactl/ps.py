"""Show the processes that hold devices."""

import argparse

from furiosa_ep.device_emulator.devices import clients
from furiosa_ep.furiosactl.arguments import add_format
from furiosa_ep.furiosactl.formats import show
from furiosa_ep.furiosactl.held import held_files

NAME = "ps"
HELP = "the processes that hold devices"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_format(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print a row for each device file that a process holds."""
    records = [
        {"dev_file": held.name, "pid": client.pid, "cmd": client.command}
        for client in clients()
        for held in held_files(client.holds)
    ]
    records.sort(key=lambda one: (one["dev_file"], one["pid"]))
    rows = [[str(value) for value in record.values()] for record in records]
    show(arguments.format, ["NPU", "PID", "CMD"], rows, records, cut_last=True)
    return 0

"""Show the versions of the command, the native library and the driver."""

import argparse

from furiosa_ep import __version__
from furiosa_ep.device_emulator.devices.cards import DRIVER_VERSION
from furiosa_ep.device_emulator.library import load_library
from furiosa_ep.furiosactl.arguments import add_format
from furiosa_ep.furiosactl.formats import show

NAME = "version"
HELP = "the versions of what is installed"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_format(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print a row for each part."""
    parts = {
        "furiosactl": __version__,
        "libfuriosa_ep": load_library().furiosa_version().decode(),
        "driver": DRIVER_VERSION,
    }
    records = [{"name": name, "version": version} for name, version in parts.items()]
    show(arguments.format, ["Name", "Version"], list(parts.items()), records)
    return 0

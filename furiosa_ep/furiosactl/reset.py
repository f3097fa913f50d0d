"""Make the PEs of a device work again that have failed.

Injected faults stay: furiosactl inject --clear takes them back.
"""

import argparse

from furiosa_ep.device_emulator.devices import list_devices, reset
from furiosa_ep.furiosactl.arguments import add_format
from furiosa_ep.furiosactl.formats import show

NAME = "reset"
HELP = "make a device work again that has failed"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_format(parser)
    parser.add_argument(
        "device", metavar="DEVICE", help="such as npu0 or npu0pe1, or several with commas"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Reset, then print a row for each PE of the host."""
    reset(arguments.device)
    records: list[dict[str, object]] = [
        {"dev_file": pe.name, "health": pe.health, "resets": pe.resets}
        for device in list_devices()
        for pe in device.status()
    ]
    rows = [[str(value) for value in record.values()] for record in records]
    show(arguments.format, ["NPU", "Health", "Resets"], rows, records)
    return 0

"""Let runs on a device meet a fault, in whatever process they are, and show what is injected.

Without a fault it only shows. DEVICE is a card (npu0), a PE (npu0pe1), or several with commas.
"""

import argparse

from furiosa_ep.device_emulator.devices import Fault, clear, inject, list_devices
from furiosa_ep.device_emulator.devices.faults import MOST_TIMES
from furiosa_ep.furiosactl.arguments import add_format, integer
from furiosa_ep.furiosactl.formats import show
from furiosa_ep.partitioner.descriptors import CommandError

NAME = "inject"
HELP = "let runs on a device meet a fault"

_FAULTS = [str(fault) for fault in Fault]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_format(parser)
    parser.add_argument("device", nargs="?", metavar="DEVICE", help="such as npu0 or npu0pe1")
    parser.add_argument(
        "fault", nargs="?", metavar="FAULT", choices=_FAULTS, help=f"one of {', '.join(_FAULTS)}"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--times",
        type=integer(1, MOST_TIMES),
        metavar="N",
        help="how many runs meet it on each PE (default: 1)",
    )
    how.add_argument("--until-cleared", action="store_true", help="all runs meet it")
    how.add_argument(
        "--clear", action="store_true", help="take back what has not struck, of DEVICE or of all"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Inject or clear, then print a row for each fault of a PE."""
    if arguments.clear:
        if arguments.fault:
            raise CommandError("--clear takes back all faults of a device: leave out the fault")
        clear(arguments.device)
    elif arguments.fault:
        inject(arguments.fault, arguments.device, _times(arguments))
    elif arguments.device is not None or arguments.until_cleared or arguments.times is not None:
        raise CommandError(
            f"expected DEVICE FAULT, as in npu0pe0 hang; faults are {', '.join(_FAULTS)}"
        )
    _show(arguments)
    return 0


def _times(arguments: argparse.Namespace) -> int | None:
    if arguments.until_cleared:
        return None
    return 1 if arguments.times is None else int(arguments.times)


def _show(arguments: argparse.Namespace) -> None:
    records: list[dict[str, object]] = []
    rows = []
    for device in list_devices():
        for pe in device.status():
            for fault in Fault:
                struck = pe.struck[fault]
                if fault not in pe.armed and not struck:
                    continue
                times = pe.armed.get(fault, 0)
                record: dict[str, object]
                record = {"dev_file": pe.name, "fault": fault, "times": times, "struck": struck}
                records.append(record)
                left = "until cleared" if times is None else str(times)
                rows.append([pe.name, str(fault), left, str(struck)])
    show(arguments.format, ["NPU", "Fault", "Times", "Struck"], rows, records)

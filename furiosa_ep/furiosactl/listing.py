"""Show what can be opened of the cards, and whether their cores can be had."""

import argparse

from furiosa_ep.device_emulator.devices import CoreStatus, Health, PeStatus, list_devices
from furiosa_ep.furiosactl.arguments import add_format
from furiosa_ep.furiosactl.formats import show
from furiosa_ep.furiosactl.held import held_files

NAME = "list"
HELP = "the device files of the cards, and which cores are occupied"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_format(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print a row for each card."""
    records = []
    rows = []
    for device in list_devices():
        files = [file.name for file in device.dev_files]
        status = device.status()
        records.append(
            {
                "dev_name": device.name,
                "cores": [_core(core, pe) for core, pe in enumerate(status)],
                "dev_files": files,
            }
        )
        cores = ", ".join(f"{core} ({_text(pe)})" for core, pe in enumerate(status))
        rows.append([device.name, cores, ", ".join(files)])
    show(arguments.format, ["NPU", "Cores", "DEVFILES"], rows, records)
    return 0


def _core(core: int, pe: PeStatus) -> dict[str, object]:
    by = _occupants(pe)
    return {"core": core, "status": pe.status, "occupied_by": by, "health": pe.health}


def _text(pe: PeStatus) -> str:
    text = str(pe.status)
    if by := _occupants(pe):
        text += f" by {', '.join(by)}"
    return text if pe.health is Health.GOOD else f"{text}, {pe.health}"


def _occupants(pe: PeStatus) -> list[str]:
    """The device files by which it is occupied."""
    if pe.status is not CoreStatus.OCCUPIED:
        return []
    files = {held.name for client in pe.holders for held in held_files(client.holds)}
    return sorted(name for name in files if name.startswith(pe.name.partition("pe")[0] + "pe"))

"""Show the cards: what they are, how warm they are and how much power they take."""

import argparse

from furiosa_ep.device_emulator.devices import Device, list_devices
from furiosa_ep.furiosactl.arguments import add_format
from furiosa_ep.furiosactl.formats import show

NAME = "info"
HELP = "what the cards are, their temperature and power"

COLUMNS = {
    "NPU": "dev_name",
    "Name": "product_name",
    "Firmware": "firmware",
    "Temp.": "temperature",
    "Power": "power",
    "PCI-BDF": "pci_bdf",
}
FULL_COLUMNS = {
    "NPU": "dev_name",
    "Name": "product_name",
    "UUID": "device_uuid",
    "S/N": "device_sn",
    "Firmware": "firmware",
    "Temp.": "temperature",
    "Power": "power",
    "Clock": "clock",
    "PCI-BDF": "pci_bdf",
    "PCI-DEV": "pci_dev",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_format(parser)
    parser.add_argument(
        "--full", action="store_true", help="more columns; JSON and YAML always have all"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print a row for each card."""
    records = [_record(device) for device in list_devices()]
    columns = FULL_COLUMNS if arguments.full else COLUMNS
    rows = [[record[key] for key in columns.values()] for record in records]
    show(arguments.format, [*columns], rows, records)
    return 0


def _record(device: Device) -> dict[str, str]:
    now = device.telemetry()
    return {
        "dev_name": device.name,
        "product_name": device.product_name.lower(),
        "device_uuid": device.device_uuid,
        "device_sn": device.device_sn,
        "firmware": device.firmware_version,
        "temperature": f"{now.temperature:.0f}°C",
        "power": f"{now.power:.2f} W",
        "clock": f"{now.clock_frequency} MHz",
        "pci_bdf": device.busname,
        "pci_dev": device.pci_dev,
    }

"""The cards of the emulated host, as the environment describes them."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from furiosa_ep import __version__
from furiosa_ep.device_emulator.devices.errors import ConfigurationError

DEVICES_VARIABLE = "FURIOSA_EMULATED_DEVICES"
MOST_CARDS = 32
PES = 2
PCI_VENDOR = 0x1ED2

_LIMITS: Mapping[str, tuple[float, float]] = {
    "dram_gib": (1, 32),
    "tdp_watts": (40, 75),
    "ambient_celsius": (0, 55),
    "numa_node": (-1, 1023),
}


@dataclass(frozen=True)
class Card:
    """What a card is, whatever it does: a `[[device]]` table of a configuration file."""

    index: int
    dram_gib: float = 16.0
    tdp_watts: float = 60.0
    """The most power that it takes; a real one can be set to 40 to 60."""
    ambient_celsius: float = 25.0
    numa_node: int = -1
    """Of the host; -1 where there is only one."""
    serial: str = ""
    firmware: str = "1.7.8"
    pci_bdf: str = ""
    """Such as `0000:01:00.0`."""

    @property
    def name(self) -> str:
        """Such as `npu0`."""
        return f"npu{self.index}"

    @property
    def dram_bytes(self) -> int:
        """All there is."""
        return int(self.dram_gib * (1 << 30))

    @property
    def uuid(self) -> str:
        """Made from the serial number."""
        digest = hashlib.sha256(f"furiosa-ep:{self.serial}".encode()).hexdigest().upper()
        ends = (8, 12, 16, 20, 32)
        return "-".join(digest[i:j] for i, j in zip((0, *ends), ends, strict=False))

    @property
    def pci_dev(self) -> str:
        """Major and minor number of the device node."""
        return f"510:{self.index * 16}"

    def metadata(self) -> dict[str, str]:
        """What ONNX Runtime shows of it."""
        return {
            "name": self.name,
            "product": PRODUCT,
            "serial": self.serial,
            "uuid": self.uuid,
            "firmware": self.firmware,
            "driver": DRIVER_VERSION,
            "pci_bdf": self.pci_bdf,
            "pes": str(PES),
            "dram_bytes": str(self.dram_bytes),
            "clock_mhz": str(CLOCK_MHZ),
        }


PRODUCT = "Warboy"
ARCHITECTURE = "WarboyB0"
CLOCK_MHZ = 2000
DRIVER_VERSION = f"{__version__} (emulated)"


def read_cards(value: str) -> tuple[Card, ...]:
    """The cards that a value of $FURIOSA_EMULATED_DEVICES stands for: a number, or a TOML file.

    Raises:
        ConfigurationError: where it is neither, or the file says what it may not.
    """
    if not value:
        return (_card(0, {}, ""),)
    if value.isascii() and value.isdecimal():
        if not 1 <= int(value[:9]) <= MOST_CARDS:
            raise ConfigurationError(
                f"${DEVICES_VARIABLE}={value}: expected a number from 1 to {MOST_CARDS}, or the "
                "path of a TOML file (docs/devices.md#cards)"
            )
        return tuple(_card(index, {}, "") for index in range(int(value)))
    return _read_file(Path(value))


def configured_cards() -> tuple[Card, ...]:
    """The cards of this process's environment.

    Raises:
        ConfigurationError: where it cannot be used.
    """
    return read_cards(os.environ.get(DEVICES_VARIABLE, "").strip())


def _read_file(path: Path) -> tuple[Card, ...]:
    import tomllib

    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"${DEVICES_VARIABLE}={path}: expected a number, or the path of a TOML file: {error}"
        ) from error
    tables = found.pop("device", None)
    if found or not isinstance(tables, list) or not 1 <= len(tables) <= MOST_CARDS:
        raise ConfigurationError(
            f"{path}: expected 1 to {MOST_CARDS} tables [[device]], and nothing else "
            "(docs/devices.md#cards)"
        )
    cards = tuple(_card(index, table, str(path)) for index, table in enumerate(tables))
    for key in ("serial", "pci_bdf"):
        values = [getattr(card, key) for card in cards]
        if len({*values}) < len(values):
            raise ConfigurationError(f"{path}: two devices have the same {key}")
    return cards


def _card(index: int, table: Mapping[str, Any], path: str) -> Card:
    kinds = {one.name: type(one.default) for one in fields(Card) if one.name != "index"}
    values: dict[str, Any] = {
        "serial": f"WARBOY{index:010}",
        "pci_bdf": f"0000:{index + 1:02x}:00.0",
    }
    for key, value in dict(table).items():
        where = f"{path}: device {index}: {key} = {value!r}"
        if key not in kinds:
            raise ConfigurationError(f"{where}: expected one of {', '.join(kinds)}")
        values[key] = _checked(key, value, kinds[key], where)
    return Card(index, **values)


def _checked(key: str, value: object, kind: type, where: str) -> object:
    if kind is str:
        if isinstance(value, str) and value.isascii() and value.isprintable() and value.strip():
            return value
        raise ConfigurationError(f"{where}: expected a text of ASCII characters")
    least, most = _LIMITS[key]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole or (kind is float and isinstance(value, float))) or not (
        least <= value <= most  # type: ignore[operator]
    ):
        number = "an integer" if kind is int else "a number"
        raise ConfigurationError(f"{where}: expected {number} from {least:g} to {most:g}")
    return kind(value)

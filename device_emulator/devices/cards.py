"""The cards of the emulated host, as the environment describes them."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from furiosa_ep import __version__
from furiosa_ep.device_emulator.devices.errors import ConfigurationError, shortened

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
_PCI_ADDRESS = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-1][0-9a-fA-F]\.[0-7]")
_LONGEST_TEXT = 64
_MOST_BYTES = 1 << 20
"""Of a configuration file."""


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
        digits = value.lstrip("0")
        if not digits or len(digits) > len(str(MOST_CARDS)) or int(digits) > MOST_CARDS:
            raise _unusable(value)
        return tuple(_card(index, {}, "") for index in range(int(digits)))
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
        if not stat.S_ISREG(path.stat().st_mode):
            raise _unusable(path, "it is no regular file")
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise _unusable(path, f"it has more than {_MOST_BYTES} bytes")
        found = tomllib.loads(text.decode())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise _unusable(path, str(error)) from error
    tables = found.pop("device", None)
    wrong = not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables)
    if found or wrong or not 1 <= len(tables) <= MOST_CARDS:
        raise ConfigurationError(
            f"{path}: expected 1 to {MOST_CARDS} tables [[device]], and nothing else "
            "(docs/devices.md#cards)"
        )
    cards = tuple(_card(index, table, str(path)) for index, table in enumerate(tables))
    for key in ("serial", "pci_bdf"):
        first: dict[str, int] = {}
        for card in cards:
            value = getattr(card, key)
            other = first.setdefault(value, card.index)
            if other != card.index:
                raise ConfigurationError(
                    f"{path}: devices {other} and {card.index} have the same {key}, {value!r}: "
                    "give each its own"
                )
    return cards


def _unusable(value: object, reason: str = "") -> ConfigurationError:
    return ConfigurationError(
        f"${DEVICES_VARIABLE}={shortened(str(value))}: expected a number from 1 to {MOST_CARDS}, "
        "or the path of a TOML file (docs/devices.md#cards)" + (f": {reason}" if reason else "")
    )


def _card(index: int, table: Mapping[str, Any], path: str) -> Card:
    kinds = {one.name: type(one.default) for one in fields(Card) if one.name != "index"}
    values: dict[str, Any] = {
        "serial": f"WARBOY{index:010}",
        "pci_bdf": f"0000:{index + 1:02x}:00.0",
    }
    for key, value in dict(table).items():
        where = f"{path}: device {index}: {shortened(key)} = {shortened(repr(value))}"
        if key not in kinds:
            raise ConfigurationError(f"{where}: expected one of {', '.join(kinds)}")
        values[key] = _checked(key, value, kinds[key], where)
    return Card(index, **values)


def _checked(key: str, value: object, kind: type, where: str) -> object:
    if kind is str:
        text = value if isinstance(value, str) and value.isascii() and value.isprintable() else ""
        if not text.strip() or len(text) > _LONGEST_TEXT:
            raise ConfigurationError(
                f"{where}: expected a text of 1 to {_LONGEST_TEXT} ASCII characters"
            )
        if key == "pci_bdf" and not _PCI_ADDRESS.fullmatch(text):
            raise ConfigurationError(f"{where}: expected a PCI address like 0000:01:00.0")
        return text
    least, most = _LIMITS[key]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole or (kind is float and isinstance(value, float))) or not (
        least <= value <= most  # type: ignore[operator]
    ):
        number = "an integer" if kind is int else "a number"
        raise ConfigurationError(f"{where}: expected {number} from {least:g} to {most:g}")
    return kind(value)

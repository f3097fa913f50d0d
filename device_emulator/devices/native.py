"""The native side of devices, kept as the environment says."""

import ctypes
import os
import threading
from pathlib import Path

from furiosa_ep.device_emulator.device_records import CardRecord
from furiosa_ep.device_emulator.devices.cards import DEVICES_VARIABLE, Card, read_cards
from furiosa_ep.device_emulator.devices.errors import BY_STATUS, DeviceError
from furiosa_ep.device_emulator.library import last_error, load_library

HOST_VARIABLE = "FURIOSA_EMULATED_HOST"
INJECT_VARIABLE = "FURIOSA_INJECT"

_lock = threading.RLock()
# A child finds it free, whatever other threads of its parent did.
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)
_current: tuple[object, ...] = ()
_cards: tuple[Card, ...] = ()


def native() -> ctypes.CDLL:
    """The native library, which sees the devices that the environment describes now.

    Raises:
        ConfigurationError: where the environment cannot be used.
        DeviceError: where the emulated host cannot be used.
    """
    configure()
    return load_library()


def configure() -> tuple[Card, ...]:
    """Let the native side see what the environment describes; returns the cards.

    Raises:
        ConfigurationError: where the environment cannot be used.
        DeviceError: where the emulated host cannot be used.
    """
    global _current, _cards
    with _lock:
        found = _environment()
        if found == _current:
            return _cards
        host, devices, _, inject = found
        cards = read_cards(str(devices))
        library = load_library()
        records = (CardRecord * len(cards))(*map(_record, cards))
        check(library.furiosa_cards_configure(os.fsencode(str(host)), records, len(cards)))
        _cards = cards
        _inject(str(inject), bool(_current) and bool(_current[3]))
        _current = found
        return cards


def check(status: int) -> None:
    """Raise what a function of the library has answered.

    Raises:
        DeviceError: unless it has succeeded.
    """
    if status:
        text = last_error(load_library())
        kind = BY_STATUS.get(status, DeviceError)
        raise kind(text.removeprefix(f"{kind.__name__}: "))


def _environment() -> tuple[object, ...]:
    devices = os.environ.get(DEVICES_VARIABLE, "").strip()
    changed = None
    if devices and not devices.isdecimal():
        try:
            changed = Path(devices).stat().st_mtime_ns
        except OSError:
            changed = None
    get = os.environ.get
    return get(HOST_VARIABLE, ""), devices, changed, get(INJECT_VARIABLE, "").strip()


def _record(card: Card) -> CardRecord:
    metadata = card.metadata()
    texts = ctypes.c_char_p * len(metadata)
    keys = texts(*(key.encode() for key in metadata))
    values = texts(*(value.encode() for value in metadata.values()))
    size = ctypes.sizeof(CardRecord)
    return CardRecord(size, 0, card.dram_bytes, keys, values, len(metadata))


def _inject(text: str, before: bool) -> None:
    """Arms the faults of $FURIOSA_INJECT, instead of those that it has named before."""
    if not text and not before:
        return
    from furiosa_ep.device_emulator.devices.faults import arm_own

    arm_own(text, _cards)


def host_directory() -> str:
    """The directory that the processes of the emulated host share; "" where this one is alone.

    Raises:
        DeviceError: where it cannot be used.
    """
    path = ctypes.create_string_buffer(4096)
    check(native().furiosa_host_directory(path, len(path)))
    return os.fsdecode(path.value)

"""Faults on demand: what a device does wrong, when it is told to."""

import enum
import re
from collections.abc import Iterator, Sequence

from furiosa_ep.device_emulator.devices.cards import PES, Card
from furiosa_ep.device_emulator.devices.errors import ConfigurationError, DeviceNotFound
from furiosa_ep.device_emulator.devices.native import INJECT_VARIABLE, check, configure, native
from furiosa_ep.device_emulator.devices.spec import DeviceSpec, Named
from furiosa_ep.device_emulator.library import load_library

ALWAYS = 1023
MOST_TIMES = ALWAYS - 1
"""As often a fault can be let strike, if not always."""
_OWN = 1


class Fault(enum.StrEnum):
    """What a run on a PE meets; in the order of furiosa_fault."""

    HANG = "hang"
    """The run never ends: DeviceTimeout once its time is over."""
    LOST = "lost"
    """The device disappears: DeviceLost."""
    DMA_ERROR = "dma-error"
    """Data cannot be moved: DmaError."""
    ECC_CORRECTED = "ecc-corrected"
    """A bit has flipped and is corrected: the run succeeds, and is counted."""
    ECC_UNCORRECTED = "ecc-uncorrected"
    """Bits have flipped and cannot be corrected: EccError."""
    OVERHEAT = "overheat"
    """The clock runs at half its speed: the run counts twice its cycles."""

    @property
    def number(self) -> int:
        """Of furiosa_fault in furiosa_ep.h."""
        return list(Fault).index(self)


def inject(fault: Fault | str, device: str = "npu0", times: int | None = 1) -> None:
    """Lets the next runs on a device meet a fault, in whatever process they are.

    Args:
        fault: such as `Fault.HANG` or "hang".
        device: a name such as "npu0" or "npu0pe1", or several with commas. Each of its PEs gets the
            fault.
        times: how many runs meet it, on each PE; None: all, until `clear` takes it back.

    Raises:
        ValueError: where there is no such fault, or `times` is not from 1 to MOST_TIMES.
        DeviceNotFound: where there is no such device.
    """
    if times is not None and not 1 <= times <= MOST_TIMES:
        raise ValueError(f"times={times}: expected 1 to {MOST_TIMES}, or None for ever")
    if fault not in list(Fault):
        raise ValueError(f"fault {str(fault)!r}: expected one of {', '.join(Fault)}")
    number = Fault(fault).number
    for card, pe in _pes(device, configure()):
        check(native().furiosa_fault_inject(card, pe, number, times or ALWAYS, 0))


def clear(device: str | None = None) -> None:
    """Takes back the faults that have not struck, of one device or of all. Resets nothing."""
    for card, pe in _pes(device, configure()):
        check(native().furiosa_faults_clear(card, pe, 0))


def reset(device: str | None = None) -> None:
    """Makes PEs that have failed work again, of one device or of all."""
    for card, pe in _pes(device, configure()):
        check(native().furiosa_pe_reset(card, pe))


def arm_own(text: str, cards: Sequence[Card]) -> None:
    """Arms for this process the faults of a text, instead of all that were.

    Raises:
        ConfigurationError: where the text is not as docs/devices.md says.
    """
    library = load_library()
    faults = list(_parse(text))
    for card, pe in _pes(None, cards):
        check(library.furiosa_faults_clear(card, pe, _OWN))
    for item, fault, device, times in faults:
        try:
            found = list(_pes(device, cards))
        except (DeviceNotFound, ValueError) as error:
            raise ConfigurationError(f"${INJECT_VARIABLE}: {item!r}: {error}") from error
        for card, pe in found:
            check(library.furiosa_fault_inject(card, pe, fault.number, times, _OWN))


_ITEM = re.compile(r"(?P<fault>[a-z-]+)(@(?P<device>[^*]+))?(\*(?P<times>[0-9]{1,4}|always))?")


def _parse(text: str) -> Iterator[tuple[str, Fault, str | None, int]]:
    """Fault, device and number of times of each item: `hang@npu0pe1*2,ecc-corrected*always`."""
    for item in filter(None, (one.strip() for one in text.split(","))):
        match = _ITEM.fullmatch(item)
        if match is None or match["fault"] not in list(Fault):
            raise ConfigurationError(
                f"${INJECT_VARIABLE}: {item!r}: expected FAULT[@DEVICE][*TIMES] with one of "
                f"{', '.join(Fault)}, as in hang@npu0pe0*2 (docs/devices.md#faults)"
            )
        times = match["times"] or "1"
        if times != "always" and not 1 <= int(times) <= MOST_TIMES:
            raise ConfigurationError(
                f"${INJECT_VARIABLE}: {item!r}: expected 1 to {MOST_TIMES} times, or always"
            )
        number = ALWAYS if times == "always" else int(times)
        yield item, Fault(match["fault"]), match["device"], number


def _pes(device: str | None, cards: Sequence[Card]) -> Iterator[tuple[int, int]]:
    """Card and number of each PE of a device, or of all."""
    every = [Named(card.index) for card in cards]
    for item in every if device is None else DeviceSpec.parse(device).items:
        if not isinstance(item, Named):
            raise DeviceNotFound(f"{item}: name the device, as in npu0pe0")
        first, last = item.cores or (0, PES - 1)
        if item.card >= len(cards) or last >= PES:
            raise DeviceNotFound(f"{item}: there are {', '.join(card.name for card in cards)}")
        yield from ((item.card, pe) for pe in range(first, last + 1))

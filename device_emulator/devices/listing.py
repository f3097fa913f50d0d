"""The devices of the emulated host, and who does what with them."""

import ctypes
import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields

from furiosa_ep.device_emulator.device_records import (
    ClientRecord,
    CountersRecord,
    PeRecord,
    UsageRecord,
)
from furiosa_ep.device_emulator.devices.cards import (
    ARCHITECTURE,
    DRIVER_VERSION,
    PES,
    PRODUCT,
    Card,
)
from furiosa_ep.device_emulator.devices.errors import DeviceNotFound
from furiosa_ep.device_emulator.devices.faults import ALWAYS, Fault
from furiosa_ep.device_emulator.devices.faults import reset as reset_device
from furiosa_ep.device_emulator.devices.native import check, configure, native
from furiosa_ep.device_emulator.devices.spec import DeviceSpec, Mode, Named
from furiosa_ep.device_emulator.devices.telemetry import Telemetry, look
from furiosa_ep.device_emulator.devices.thermal import Observation

_MOST_CLIENTS = 256


class CoreStatus(enum.StrEnum):
    """Whether a PE can be had."""

    AVAILABLE = "available"
    OCCUPIED = "occupied"
    """A process holds it, maybe this one."""
    UNAVAILABLE = "unavailable"
    """The device has disappeared, or will with the next run."""


class Health(enum.StrEnum):
    """What ails a PE; in the order of furiosa_pe.health."""

    GOOD = "good"
    HANGING = "hanging"
    """A run is hanging on it."""
    HUNG = "hung"
    LOST = "lost"
    DMA_ERROR = "dma-error"
    ECC_ERROR = "ecc-error"


class Hold(enum.StrEnum):
    """How a process holds a PE; in the order of furiosa_hold."""

    NONE = "none"
    SHARED = "shared"
    EXCLUSIVE = "exclusive"


@dataclass(frozen=True, slots=True)
class Counters:
    """What runs add up to. A run on two fused PEs counts on both, its bytes on the first one."""

    executions: int
    cycles: int
    """Modelled ones of the device's clock, as the next three."""
    compute_cycles: int
    dma_cycles: int
    io_cycles: int
    bytes_in: int
    bytes_out: int
    failures: int

    @classmethod
    def of(cls, record: CountersRecord) -> "Counters":
        """The numbers of a record."""
        return cls(*(getattr(record, one.name) for one in fields(cls)))


@dataclass(frozen=True, slots=True)
class Client:
    """A process that uses devices, or has used them and still runs."""

    pid: int
    command: str
    """Its command line, cut after 255 bytes."""
    started: float
    """Using devices, in seconds since 1970."""
    holds: Mapping[str, Hold]
    """The PEs that it holds, by name."""
    counters: Mapping[str, Counters]
    """Of the PEs that it has run on, by name."""
    dram_bytes: Mapping[str, int]
    """What its Programs take of the DRAM of cards, by name."""


@dataclass(frozen=True, slots=True)
class PeStatus:
    """A PE at a moment."""

    name: str
    status: CoreStatus
    holders: tuple[Client, ...]
    """The processes that hold it."""
    exclusive: bool
    """Whether one holds it for itself."""
    foreign: bool
    """Whether another process than this one holds it."""
    health: Health
    resets: int
    armed: Mapping[Fault, int | None]
    """The faults that will strike, and how many times; None: always."""
    struck: Mapping[Fault, int]
    """How many times faults have struck."""
    counters: Counters
    """Of all processes there ever were."""


@dataclass(frozen=True)
class DeviceFile:
    """PEs of a card that can be opened together."""

    card: int
    cores: tuple[int, int]
    """The first and the last PE."""
    mode: Mode

    @property
    def name(self) -> str:
        """Such as `npu0pe0-1`."""
        return str(Named(self.card, None if self.mode is Mode.MULTI_CORE else self.cores))

    @property
    def pes(self) -> tuple[int, ...]:
        """The PEs of the card."""
        return tuple(range(self.cores[0], self.cores[1] + 1))


@dataclass(frozen=True)
class Device:
    """A card. What it is are attributes; what it does, methods and properties that look anew."""

    card: Card

    @property
    def name(self) -> str:
        """Such as `npu0`."""
        return self.card.name

    @property
    def index(self) -> int:
        """Its number."""
        return self.card.index

    product_name = PRODUCT
    arch = ARCHITECTURE
    driver_version = DRIVER_VERSION
    core_num = PES
    cores = tuple(range(PES))

    @property
    def device_uuid(self) -> str:
        """Made from the serial number."""
        return self.card.uuid

    @property
    def device_sn(self) -> str:
        """The serial number."""
        return self.card.serial

    @property
    def firmware_version(self) -> str:
        """As configured."""
        return self.card.firmware

    @property
    def busname(self) -> str:
        """The PCI address, such as `0000:01:00.0`."""
        return self.card.pci_bdf

    @property
    def pci_dev(self) -> str:
        """Major and minor number of the device node."""
        return self.card.pci_dev

    @property
    def dev_files(self) -> tuple[DeviceFile, ...]:
        """What can be opened of it."""
        last = PES - 1
        singles = [DeviceFile(self.index, (pe, pe), Mode.SINGLE) for pe in self.cores]
        return (
            DeviceFile(self.index, (0, last), Mode.MULTI_CORE),
            *singles,
            DeviceFile(self.index, (0, last), Mode.FUSION),
        )

    @property
    def alive(self) -> bool:
        """Whether no PE has disappeared."""
        return all(one.status is not CoreStatus.UNAVAILABLE for one in self.status())

    @property
    def clock_frequency(self) -> int:
        """In MHz, as it is throttled now."""
        return self.telemetry().clock_frequency

    @property
    def dram_bytes(self) -> int:
        """All there is."""
        return self.card.dram_bytes

    @property
    def dram_used(self) -> int:
        """What Programs of all processes take."""
        return sum(one.dram_bytes.get(self.name, 0) for one in clients())

    def status(self) -> tuple[PeStatus, ...]:
        """What its PEs do."""
        known = clients()
        return tuple(_pe_status(self.index, pe, known) for pe in self.cores)

    def counters(self) -> tuple[Counters, ...]:
        """What runs on its PEs add up to."""
        return tuple(Counters.of(_pe_record(self.index, pe).counters) for pe in self.cores)

    def reset(self) -> None:
        """Makes PEs that have failed work again."""
        reset_device(self.name)

    def telemetry(self) -> Telemetry:
        """How warm and how busy it is."""
        return look(self.card, self._observe)

    def _observe(self, now: int) -> Observation:
        pes = [_pe_record(self.index, pe) for pe in self.cores]
        overheat = Fault.OVERHEAT.number
        return Observation(
            time=now,
            cycles=tuple(one.counters.cycles for one in pes),
            overheats=sum(one.struck[overheat] for one in pes),
            overheating=any(one.armed[overheat] for one in pes),
        )


def list_devices() -> list[Device]:
    """The cards of the emulated host.

    Raises:
        ConfigurationError: where the environment describes none.
    """
    return [Device(card) for card in configure()]


def get_device(index: int) -> Device:
    """A card by its number.

    Raises:
        DeviceNotFound: where there is none.
    """
    devices = list_devices()
    if not 0 <= index < len(devices):
        raise DeviceNotFound(f"npu{index}: there are {', '.join(one.name for one in devices)}")
    return devices[index]


def get_device_file(name: str) -> DeviceFile:
    """A device file by its name, such as `npu0pe0-1`.

    Raises:
        SpecError: where that is no name.
        DeviceNotFound: where there is none.
    """
    items = DeviceSpec.parse(name).items
    if len(items) == 1 and isinstance(items[0], Named):
        return find_named(items[0])
    raise DeviceNotFound(f"{name}: name one device, as in npu0pe0")


def find_named(item: Named) -> DeviceFile:
    """The device file that is meant.

    Raises:
        DeviceNotFound: where there is none.
    """
    files = [file for device in list_devices() for file in device.dev_files]
    for file in files:
        if file.name == str(item):
            return file
    raise DeviceNotFound(f"{item}: there are {', '.join(file.name for file in files)}")


def clients() -> list[Client]:
    """The processes that use devices, or have used them and still run."""
    library = native()
    records = (ClientRecord * _MOST_CLIENTS)()
    count = ctypes.c_size_t()
    check(library.furiosa_clients(records, len(records), ctypes.byref(count)))
    return [_client(record) for record in records[: count.value]]


def _client(record: ClientRecord) -> Client:
    library = native()
    holds, counters, dram = {}, {}, {}
    usage = UsageRecord()
    for card in configure():
        for pe in range(PES):
            usage.size = ctypes.sizeof(UsageRecord)
            check(library.furiosa_client_usage(record.slot, card.index, pe, ctypes.byref(usage)))
            name = str(Named(card.index, (pe, pe)))
            if usage.hold:
                holds[name] = list(Hold)[usage.hold]
            if usage.counters.executions or usage.counters.failures:
                counters[name] = Counters.of(usage.counters)
        if usage.dram_bytes:
            dram[card.name] = int(usage.dram_bytes)
    command = record.command.decode(errors="replace")
    return Client(record.pid, command, record.started / 1e9, holds, counters, dram)


def _pe_record(card: int, pe: int) -> PeRecord:
    record = PeRecord(size=ctypes.sizeof(PeRecord))
    check(native().furiosa_pe_status(card, pe, ctypes.byref(record)))
    return record


def _pe_status(card: int, pe: int, known: list[Client]) -> PeStatus:
    record = _pe_record(card, pe)
    name = str(Named(card, (pe, pe)))
    holders = tuple(one for one in known if name in one.holds)
    health = list(Health)[record.health]
    armed = {
        fault: None if times == ALWAYS else int(times)
        for fault, times in zip(Fault, record.armed, strict=True)
        if times
    }
    struck = dict(zip(Fault, map(int, record.struck), strict=True))
    status = CoreStatus.AVAILABLE
    if health is Health.LOST or Fault.LOST in armed:
        status = CoreStatus.UNAVAILABLE
    elif record.holder or record.hold:
        status = CoreStatus.OCCUPIED
    return PeStatus(
        name=name,
        status=status,
        holders=holders,
        exclusive=any(one.holds[name] is Hold.EXCLUSIVE for one in holders),
        foreign=bool(record.holder),
        health=health,
        resets=record.resets,
        armed=armed,
        struck=struck,
        counters=Counters.of(record.counters),
    )

"""Finding free devices and holding them."""

import ctypes
import os
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence

from furiosa_ep.device_emulator.device_records import DeviceFileRecord
from furiosa_ep.device_emulator.devices.errors import DeviceBusy, DeviceNotFound, SpecError
from furiosa_ep.device_emulator.devices.listing import (
    DeviceFile,
    PeStatus,
    find_named,
    get_device,
    list_devices,
)
from furiosa_ep.device_emulator.devices.native import check, native
from furiosa_ep.device_emulator.devices.running import OpenDevice
from furiosa_ep.device_emulator.devices.spec import DeviceSpec, Mode, Named

SPEC_VARIABLE = "FURIOSA_DEVICES"
OLD_VARIABLE = "NPU_DEVNAME"
DEFAULT_SPEC = "warboy(2)*1"
_SHARED = 1
_POLL = 0.01
"""Seconds between two looks at a device that is waited for."""
_RACES = 4
"""How often other devices are tried where others have taken the chosen ones just before."""


def environment_spec() -> tuple[str, str]:
    """The variable that names devices, and what it says; ("", "") where none does.

    It is $FURIOSA_DEVICES, else $NPU_DEVNAME, which warns.
    """
    if spec := os.environ.get(SPEC_VARIABLE, "").strip():
        return SPEC_VARIABLE, spec
    if spec := os.environ.get(OLD_VARIABLE, "").strip():
        warnings.warn(
            f"${OLD_VARIABLE} is deprecated: set ${SPEC_VARIABLE}={spec} instead",
            DeprecationWarning,
            stacklevel=3,
        )
        return OLD_VARIABLE, spec
    return "", ""


def find(spec: str | DeviceSpec | None = None) -> list[DeviceFile]:
    """The device files that a spec stands for, all of them free for this process.

    Those that are named come first, then those of which any will do, in the order of devices.

    Args:
        spec: such as "npu0pe0", "warboy(2)*1" or several with commas; None: what
            $FURIOSA_DEVICES or $NPU_DEVNAME says, else "warboy(2)*1".

    Raises:
        SpecError: where the text is no spec; it shows where.
        DeviceNotFound: where there are too few such devices, or one twice.
        DeviceBusy: where there are enough, but other processes hold them.
    """
    parsed = spec if isinstance(spec, DeviceSpec) else _parse(spec)
    status = {one.name: one for device in list_devices() for one in device.status()}
    taken: set[str] = set()
    found: dict[int, list[DeviceFile]] = {}
    for index, item in enumerate(parsed.items):
        if isinstance(item, Named):
            file = find_named(item)
            names = _names(file)
            if taken & {*names}:
                raise DeviceNotFound(f"{parsed}: names {sorted(taken & {*names})[0]} twice")
            for name in names:
                if status[name].foreign:
                    raise DeviceBusy(_occupied(status[name]))
            taken |= {*names}
            found[index] = [file]
    for index, item in enumerate(parsed.items):
        if not isinstance(item, Named):
            found[index] = list(_choose(str(parsed), item.mode, item.count, status, taken))
    return [file for index in range(len(parsed.items)) for file in found[index]]


def _parse(spec: str | None) -> DeviceSpec:
    if spec:
        return DeviceSpec.parse(spec)
    variable, spec = environment_spec()
    try:
        return DeviceSpec.parse(spec or DEFAULT_SPEC)
    except SpecError as error:
        raise SpecError(f"${variable}: {error}") from error


def _names(file: DeviceFile) -> list[str]:
    return [str(Named(file.card, (pe, pe))) for pe in file.pes]


def _choose(
    spec: str, mode: Mode, count: int, status: dict[str, PeStatus], taken: set[str]
) -> Iterator[DeviceFile]:
    """`count` free files of a mode, which are then taken."""
    matching = [file for device in list_devices() for file in device.dev_files if file.mode is mode]
    matching = [file for file in matching if not taken & {*_names(file)}]
    if len(matching) < count:
        raise DeviceNotFound(
            f"{spec}: asks for {count} devices of mode {mode}, there are {len(matching)}"
        )
    free = [file for file in matching if not any(status[n].foreign for n in _names(file))]
    if len(free) < count:
        foreign = [n for file in matching for n in _names(file) if status[n].foreign]
        raise DeviceBusy(
            f"{spec}: asks for {count} devices, {len(free)} of {len(matching)} are free; "
            + _occupied(status[foreign[0]])
        )
    for file in free[:count]:
        taken |= {*_names(file)}
        yield file


def _occupied(status: PeStatus) -> str:
    holders = ", ".join(f"{one.pid} ({one.command})" for one in status.holders)
    return (
        f"{status.name} is held by process {holders or 'unknown'}: "
        "wait for it (wait=, device_wait), or name another device"
    )


def open_device(spec: str | DeviceSpec | None = None, wait: float | None = None) -> "OpenDevice":
    """Holds the devices that a spec stands for, for this process alone.

    Close the result, or use it in a `with` statement. Other sessions and opens of this process may
    use the devices too; those of other processes get DeviceBusy. PEs that have failed are reset.

    Args:
        spec: as for `find`.
        wait: for how many seconds to wait for devices that are busy.

    Raises:
        SpecError: where the text is no spec; it shows where.
        DeviceNotFound: where there are no such devices.
        DeviceBusy: where other processes hold them, after `wait`.
    """
    parsed = spec if isinstance(spec, DeviceSpec) else _parse(spec)
    deadline = time.monotonic() + (wait or 0)
    races = 0
    while True:
        try:
            return _hold(find(parsed), shared=False)
        except DeviceBusy:
            races += 1
            left = deadline - time.monotonic()
            if left > 0:
                time.sleep(min(_POLL, left))
            elif races >= _RACES or wait:
                raise


def open_shared(
    pes: int = 1, cards: Collection[int] = (), wait: float | None = None
) -> "OpenDevice":
    """Holds a device that other processes may share: what a session that names none runs on.

    Args:
        pes: how many PEs work together.
        cards: those to use, one device on each that can be had; all of the host where it is empty,
            one device on the first that can be had.
        wait: for how many seconds to wait.

    Raises:
        DeviceNotFound: where there is no such card.
        DeviceBusy: where other processes hold all PEs exclusively, after `wait`.
    """
    mode = Mode.FUSION if pes > 1 else Mode.SINGLE
    known = {device.index: device for device in list_devices()}
    if missing := [f"npu{card}" for card in cards if card not in known]:
        there = ", ".join(device.name for device in known.values())
        raise DeviceNotFound(f"{', '.join(missing)}: there are {there}")
    files = [
        [file for file in known[card].dev_files if file.mode is mode] for card in cards or known
    ]
    deadline = time.monotonic() + (wait or 0)
    while True:
        try:
            if cards:
                return _hold_on_each(files)
            return _hold_first([file for own in files for file in own])
        except DeviceBusy:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(_POLL, left))


def _hold_on_each(files: Iterable[list[DeviceFile]]) -> "OpenDevice":
    chosen: list[DeviceFile] = []
    busy: DeviceBusy | None = None
    for own in files:
        try:
            with _hold_first(own) as one:
                chosen += one.files
        except DeviceBusy as error:
            busy = error
    if busy is not None and not chosen:
        raise busy
    return _hold(chosen, shared=True)


def _hold_first(files: list[DeviceFile]) -> "OpenDevice":
    """The first one that can be had."""
    busy = DeviceBusy("there is no device")
    for file in files:
        try:
            return _hold([file], shared=True)
        except DeviceBusy as error:
            busy = error
    raise busy


def _hold(files: Sequence[DeviceFile], *, shared: bool) -> "OpenDevice":
    """Holds all of the files; those of several PEs that are not fused as one file for each."""
    records = [
        DeviceFileRecord(file.card, first, last)
        for file in files
        for first, last in (
            [(pe, pe) for pe in file.pes] if file.mode is Mode.MULTI_CORE else [file.cores]
        )
    ]
    handle = ctypes.c_void_p()
    array = (DeviceFileRecord * len(records))(*records)
    check(
        native().furiosa_device_open(
            array, len(records), _SHARED if shared else 0, ctypes.byref(handle)
        )
    )
    opened = OpenDevice(handle, tuple(files), shared=shared)
    for card in {file.card for file in files}:
        get_device(card).telemetry()  # so that how warm it becomes counts from here
    return opened

"""The device files that processes use."""

from collections.abc import Iterable
from typing import NamedTuple

from furiosa_ep.device_emulator.devices import list_devices


class Held(NamedTuple):
    """PEs of a card that a process uses."""

    name: str
    """Of the device file: `npu0pe0-1` where it uses both, together or each for itself."""
    pes: tuple[str, ...]
    """Their names."""


def held_files(pes: Iterable[str]) -> list[Held]:
    """The device files of PEs, which are given by their names, in the order of the devices."""
    used = {*pes}
    found = []
    for device in list_devices():
        both, *singles = sorted(device.dev_files, key=lambda file: file.mode != "fusion")
        names = tuple(file.name for file in singles if file.mode == "single")
        if used >= {*names}:
            found.append(Held(both.name, names))
        else:
            found += [Held(name, (name,)) for name in names if name in used]
    return found

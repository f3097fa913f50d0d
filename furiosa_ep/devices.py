"""The devices of the emulated host: list, hold and use them (docs/devices.md)."""

from furiosa_ep.device_emulator.devices import *  # noqa: F403
from furiosa_ep.device_emulator.devices import __all__ as __all__

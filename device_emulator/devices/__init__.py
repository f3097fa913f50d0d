"""The devices of the emulated host: list them, hold them, run Programs on them (docs/devices.md).

from furiosa_ep import devices

with devices.open("npu0pe0") as device:
    outputs = await device.run(program, inputs)

What opens devices and runs on them, and needs NumPy for it, is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from furiosa_ep.device_emulator.devices.cards import Card
from furiosa_ep.device_emulator.devices.errors import (
    ConfigurationError,
    DeviceBusy,
    DeviceError,
    DeviceLost,
    DeviceNotFound,
    DeviceTimeout,
    DmaError,
    EccError,
    OutOfDeviceMemory,
    SpecError,
    device_error,
)
from furiosa_ep.device_emulator.devices.faults import Fault, clear, inject, reset
from furiosa_ep.device_emulator.devices.listing import (
    Client,
    CoreStatus,
    Counters,
    Device,
    DeviceFile,
    Health,
    Hold,
    PeStatus,
    clients,
    get_device,
    get_device_file,
    list_devices,
)
from furiosa_ep.device_emulator.devices.native import host_directory
from furiosa_ep.device_emulator.devices.spec import DeviceSpec, Mode
from furiosa_ep.device_emulator.devices.telemetry import Telemetry, Utilization
from furiosa_ep.lazy import loaded_later

if TYPE_CHECKING:
    from furiosa_ep.device_emulator.devices.opening import find, open_shared
    from furiosa_ep.device_emulator.devices.opening import open_device as open  # noqa: A004
    from furiosa_ep.device_emulator.devices.running import OpenDevice

__all__ = [
    "Card",
    "Client",
    "ConfigurationError",
    "CoreStatus",
    "Counters",
    "Device",
    "DeviceBusy",
    "DeviceError",
    "DeviceFile",
    "DeviceLost",
    "DeviceNotFound",
    "DeviceSpec",
    "DeviceTimeout",
    "DmaError",
    "EccError",
    "Fault",
    "Health",
    "Hold",
    "Mode",
    "OpenDevice",
    "OutOfDeviceMemory",
    "PeStatus",
    "SpecError",
    "Telemetry",
    "Utilization",
    "clear",
    "clients",
    "device_error",
    "find",
    "get_device",
    "get_device_file",
    "host_directory",
    "inject",
    "list_devices",
    "open",
    "open_shared",
    "reset",
]

if not TYPE_CHECKING:  # which sees the imports above instead, and misspelt names
    __getattr__ = loaded_later(
        __name__,
        {
            "OpenDevice": f"{__name__}.running",
            "find": f"{__name__}.opening",
            "open": f"{__name__}.opening:open_device",
            "open_shared": f"{__name__}.opening",
        },
    )

"""What devices answer when they cannot do what is asked (docs/devices.md)."""


class DeviceError(RuntimeError):
    """A device cannot do what is asked. In ONNX Runtime the text begins with the type's name."""


# Three of the names are those of the real API; the others follow them.


class DeviceBusy(DeviceError):  # noqa: N818
    """Another process holds the device."""


class DeviceNotFound(DeviceError):  # noqa: N818
    """There is no such device."""


class DeviceTimeout(DeviceError):  # noqa: N818
    """A run did not end in time: the device hangs, or has hung and was not reset since."""


class DeviceLost(DeviceError):  # noqa: N818
    """The device has disappeared."""


class DmaError(DeviceError):
    """The device could not move data."""


class EccError(DeviceError):
    """The device found flipped bits in its memory that it cannot correct."""


class OutOfDeviceMemory(DeviceError):  # noqa: N818
    """The DRAM of the card has no room for a Program."""


class SpecError(DeviceError, ValueError):
    """A text that names no devices."""


class ConfigurationError(DeviceError, ValueError):
    """What the environment says of emulated devices cannot be used."""


BY_STATUS: dict[int, type[DeviceError]] = {
    4: DeviceBusy,
    5: DeviceNotFound,
    6: DeviceTimeout,
    7: DeviceLost,
    8: DmaError,
    9: EccError,
    10: OutOfDeviceMemory,
}
"""By furiosa_status of furiosa_ep.h; others are DeviceError."""


def shortened(text: str) -> str:
    """As an error shows it: what somebody has given, of which a long one is cut."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_SHOWN = 200


def device_error(error: BaseException) -> DeviceError | None:
    """The device's answer inside an error of ONNX Runtime, or None where it holds none."""
    text = str(error)
    for kind in BY_STATUS.values():
        _, found, reason = text.partition(f"{kind.__name__}: ")
        if found:
            return kind(reason)
    return None

"""The device of a session: which one its options, ONNX Runtime or the environment name."""

import dataclasses
from collections.abc import Sequence

from furiosa_ep.device_emulator.devices.errors import DeviceError, SpecError
from furiosa_ep.device_emulator.devices.opening import environment_spec, open_device, open_shared
from furiosa_ep.device_emulator.devices.running import OpenDevice
from furiosa_ep.device_emulator.devices.spec import DeviceSpec
from furiosa_ep.device_emulator.target import WARBOY, WARBOY_2PE
from furiosa_ep.options import OptionError, Options


def hold_device(
    options: Options, cards: Sequence[int], *, target_given: bool
) -> tuple[Options, OpenDevice]:
    """The device of a session, and its options with the target that follows from it.

    Args:
        options: the session's.
        cards: those that ONNX Runtime has chosen. The first card alone is what it gives to sessions
            that choose none.
        target_given: whether the session has set its target.

    Raises:
        OptionError: where the device is none, or contradicts the target.
        DeviceNotFound: where there is no such device.
        DeviceBusy: where other processes hold it, after the time that the session waits.
    """
    chosen = [] if list(cards) == [0] else cards
    where, text = f"option 'device'={options.device!r}", options.device
    if by_environment := not text and not chosen:
        variable, text = environment_spec()
        where = f"${variable}={text}"
    if not text:
        return options, open_shared(_pes(options.target), chosen, options.device_wait)
    try:
        spec = DeviceSpec.parse(text)
        pes = spec.pes
    except SpecError as error:
        raise OptionError(f"{where}: {error}") from error
    if not target_given:
        target = WARBOY_2PE if pes > 1 else WARBOY
        options = dataclasses.replace(options, target=target.name)
    elif _pes(options.target) != pes:
        raise OptionError(
            f"option 'target'={options.target!r}: {where} has {pes} PEs that work together, the "
            f"target {_pes(options.target)}: leave out one of the two (docs/options.md#device)"
        )
    try:
        return options, open_device(spec, options.device_wait)
    except DeviceError as error:
        if not by_environment:
            raise
        raise type(error)(f"{error} ({where})") from error


def _pes(target: str) -> int:
    """How many PEs a target has."""
    from furiosa_ep.partitioner.plugins import registry

    known = registry().named("furiosa_targets")
    return known[target].pes if target in known else 1

"""Utilisation, temperature and power of cards, as all processes see them (docs/furiosactl.md).

Runs only count. Whoever wants to know how a card is takes what has been counted since somebody last
looked, lets the model go on from there, and stores the result for all: so there is one history, no
process need be there for it, and a run pays nothing. The library sees to it that what is stored is
read and replaced as a whole; the rest is Python, as people and not runs wait for it.
"""

import ctypes
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from furiosa_ep.device_emulator.devices.cards import CLOCK_MHZ, Card
from furiosa_ep.device_emulator.devices.native import check, native
from furiosa_ep.device_emulator.devices.thermal import (
    THROTTLED_PERMILLE,
    Observation,
    State,
    busy_share,
)

if TYPE_CHECKING:
    from furiosa_ep.device_emulator.devices.listing import Counters

SAMPLING_SECONDS = 0.1
"""Who looks sooner than this after somebody has looked sees what that one saw: a run counts when it
ends, so that a shorter time says little."""

_WORDS = 8
_THROTTLE_STEP = 1024
"""FURIOSA_THROTTLE_STEP of furiosa_ep.h."""
_PLAUSIBLE_CELSIUS = (-100.0, 1000.0)
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Utilization:
    """What a PE, or several, did in a time; in percent."""

    npu: float
    """Of the time, in which it was busy; at most 100."""
    computation: float
    """Of that, in which it computed; 0 where it was never busy."""
    io: float
    """The rest of it, in which it waited for data; 0 where it was never busy."""

    @classmethod
    def between(
        cls, before: Sequence["Counters"], after: Sequence["Counters"], seconds: float
    ) -> "Utilization":
        """What PEs did in some seconds, which began and ended with these counters."""
        pairs = list(zip(before, after, strict=True))
        cycles = [max(0, new.cycles - old.cycles) for old, new in pairs]
        if seconds <= 0 or not any(cycles):
            return cls(0.0, 0.0, 0.0)
        npu = sum(busy_share(one, seconds) for one in cycles) / len(cycles)
        computed = sum(max(0, new.compute_cycles - old.compute_cycles) for old, new in pairs)
        computation = min(100.0, 100 * computed / sum(cycles))
        return cls(100 * npu, computation, 100 - computation)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """How a card is."""

    temperature: float
    """In °C."""
    power: float
    """In watts, on average since the look before."""
    utilization: float
    """Of all its PEs, in percent, on average since the look before."""
    clock_frequency: int
    """In MHz, as it is throttled now."""


def look(card: Card, observe: Callable[[int], Observation]) -> Telemetry:
    """How a card is now, which others who look will go on from.

    Args:
        card: the one to look at.
        observe: gives what can be seen of it, at a time in nanoseconds since 1970.

    Raises:
        DeviceError: where the emulated host cannot be used.
    """
    for _ in range(_TRIES):
        words, state = _read(card.index)
        now = time.time_ns()
        if 0 <= now - state.time < SAMPLING_SECONDS * 1e9:
            break
        state = state.advance(card, observe(now))
        if _exchange(card.index, words, state):
            break
    throttled = state.throttled_until > now
    return Telemetry(
        temperature=state.temperature,
        power=state.power(card),
        utilization=100 * state.utilization,
        clock_frequency=CLOCK_MHZ * (THROTTLED_PERMILLE if throttled else 1000) // 1000,
    )


def _read(card: int) -> tuple["ctypes.Array[ctypes.c_uint64]", State]:
    """The words that processes share about a card, and what they say; the last one counts."""
    words = (ctypes.c_uint64 * _WORDS)()
    check(native().furiosa_card_thermal(card, words, _WORDS))
    throttle, taken, heat, share, *cycles, overheats, _ = words
    temperature, utilization = struct.unpack("dd", struct.pack("QQ", heat, share))
    least, most = _PLAUSIBLE_CELSIUS
    if not (least <= temperature <= most and 0 <= utilization <= 1):
        return words, State()
    return words, State(taken, temperature, utilization, throttle, tuple(cycles), overheats)


def _exchange(card: int, before: "ctypes.Array[ctypes.c_uint64]", state: State) -> bool:
    """Whether the words were still as before, and now tell of `state`."""
    throttle = state.throttled_until // _THROTTLE_STEP * _THROTTLE_STEP + THROTTLED_PERMILLE
    heat, share = struct.unpack("QQ", struct.pack("dd", state.temperature, state.utilization))
    throttle = throttle if state.throttled_until else 0
    words = (ctypes.c_uint64 * _WORDS)(
        *[throttle, state.time, heat, share, *state.cycles, state.overheats, 0]
    )
    done = ctypes.c_int32()
    exchange = native().furiosa_card_exchange_thermal
    check(exchange(card, before, words, _WORDS, ctypes.byref(done)))
    return bool(done)

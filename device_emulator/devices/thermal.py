"""The model of a card's power and temperature: pure functions (docs/furiosactl.md)."""

import math
from dataclasses import dataclass

from furiosa_ep.device_emulator.devices.cards import CLOCK_MHZ, PES, Card

IDLE_WATTS = 1.0
"""What a card takes that does nothing."""
THERMAL_RESISTANCE = 0.75
"""From the card to the air, in K/W: at 60 W and the highest ambient temperature of a real card,
50 °C, it is just not throttled."""
TIME_CONSTANT = 90.0
"""Seconds in which 63 % of a change of temperature are done: THERMAL_RESISTANCE times the 120 J/K
of 130 g of aluminium."""
THROTTLE_CELSIUS = 95.0
"""Above it the clock is throttled,"""
RESUME_CELSIUS = 85.0
"""until the card is as cool as this."""
THROTTLED_PERMILLE = 500
"""Of the clock, where it is throttled."""
OVERHEATED_CELSIUS = 100.0
"""The least that a card has that the fault `overheat` befalls."""

_LONGEST_THROTTLE = 10 * TIME_CONSTANT
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Observation:
    """What can be seen of a card at a time."""

    time: int
    """In nanoseconds since 1970."""
    cycles: tuple[int, ...]
    """That each PE has been busy, of its full clock."""
    overheats: int
    """How often the fault `overheat` has struck."""
    overheating: bool
    """Whether it is about to."""


@dataclass(frozen=True, slots=True)
class State:
    """How a card was when somebody last looked."""

    time: int = 0
    """In nanoseconds since 1970; 0 where nobody has."""
    temperature: float = 0.0
    """In °C."""
    utilization: float = 0.0
    """The share of the time since the look before in which its PEs were busy, from 0 to 1."""
    throttled_until: int = 0
    """In nanoseconds since 1970: when it will have cooled if it goes on so; 0: not throttled."""
    cycles: tuple[int, ...] = (0,) * PES
    overheats: int = 0

    def power(self, card: Card) -> float:
        """In watts."""
        return power_at(card, self.utilization, throttled=self.throttled_until > self.time)

    def advance(self, card: Card, seen: Observation) -> "State":
        """How the card is now; between the two looks its PEs were busy evenly."""
        seconds = (seen.time - self.time) / _NANOSECONDS
        utilization = self.utilization
        if self.time == 0:
            utilization = 0.0
            temperature = steady_temperature(card, IDLE_WATTS)
        elif seconds <= 0:  # the clock of the host was put back
            temperature = self.temperature
        else:
            shares = [
                busy_share(new - old, seconds)
                for old, new in zip(self.cycles, seen.cycles, strict=True)
            ]
            utilization = sum(shares) / len(shares)
            power = power_at(card, utilization, throttled=self.throttled_until > self.time)
            temperature = temperature_after(card, self.temperature, power, seconds)
        struck = self.time != 0 and seen.overheats > self.overheats
        if struck or seen.overheating:
            temperature = max(temperature, OVERHEATED_CELSIUS)
        until = 0
        if temperature > (RESUME_CELSIUS if self.throttled_until > seen.time else THROTTLE_CELSIUS):
            power = power_at(card, utilization, throttled=True)
            left = min(cooling_time(card, temperature, power, RESUME_CELSIUS), _LONGEST_THROTTLE)
            until = seen.time + int(left * _NANOSECONDS)
        return State(seen.time, temperature, utilization, until, seen.cycles, seen.overheats)


def busy_share(cycles: int, seconds: float) -> float:
    """The share of a time in which a PE was busy that counted so many cycles; at most 1."""
    return min(1.0, max(0, cycles) / (CLOCK_MHZ * 1e6 * seconds))


def power_at(card: Card, utilization: float, *, throttled: bool = False) -> float:
    """The watts that a card takes: IDLE_WATTS, and the rest of its TDP as its PEs are busy.

    Args:
        card: with its TDP.
        utilization: the share of the time in which its PEs are busy, from 0 to 1.
        throttled: whether they run at THROTTLED_PERMILLE of the clock, and take as much less.
    """
    clock = THROTTLED_PERMILLE / 1000 if throttled else 1.0
    return IDLE_WATTS + (card.tdp_watts - IDLE_WATTS) * utilization * clock


def steady_temperature(card: Card, power: float) -> float:
    """The °C that a card comes to that takes this power for long."""
    return card.ambient_celsius + THERMAL_RESISTANCE * power


def temperature_after(card: Card, temperature: float, power: float, seconds: float) -> float:
    """The °C of a card that had `temperature` and has taken this power for some seconds."""
    steady = steady_temperature(card, power)
    return steady + (temperature - steady) * math.exp(-seconds / TIME_CONSTANT)


def cooling_time(card: Card, temperature: float, power: float, wanted: float) -> float:
    """The seconds in which a card cools to the `wanted` °C at this power; infinite where never."""
    steady = steady_temperature(card, power)
    if temperature <= wanted:
        return 0.0
    if steady >= wanted:
        return math.inf
    return TIME_CONSTANT * math.log((temperature - steady) / (wanted - steady))

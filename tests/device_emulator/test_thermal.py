"""The model of temperature and power: bounds, order, and that looking changes nothing."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa_ep.device_emulator.devices import thermal
from furiosa_ep.device_emulator.devices.cards import CLOCK_MHZ, Card
from furiosa_ep.device_emulator.devices.thermal import Observation, State

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CARDS = st.builds(
    Card,
    st.just(0),
    tdp_watts=st.floats(40, 75),
    ambient_celsius=st.floats(0, 30),  # so that the clock is never throttled
)
SHARES = st.floats(0, 1)
WINDOWS = st.lists(st.floats(0.1, 1000), min_size=1, max_size=20)


def cycles(share: float, seconds: float) -> int:
    return round(share * seconds * CLOCK_MHZ * 1e6)


def seen(seconds: float, busy: tuple[int, ...] = (0, 0), overheats: int = 0) -> Observation:
    return Observation(START + round(seconds * SECOND), busy, overheats, overheating=False)


def first(card: Card) -> State:
    return State().advance(card, seen(0))


def after(card: Card, share: float, windows: list[float]) -> list[State]:
    """What those see who look after each window, while the PEs are busy all along."""
    states, now = [first(card)], 0.0
    for window in windows:
        now += window
        states.append(states[-1].advance(card, seen(now, (cycles(share, now),) * 2)))
    return states


@given(CARDS, st.lists(st.tuples(SHARES, SHARES, st.floats(0.1, 1000)), max_size=20))
def test_temperature_is_between_idle_and_the_steady_state_of_full_load(
    card: Card, loads: list[tuple[float, float, float]]
) -> None:
    least = thermal.steady_temperature(card, thermal.IDLE_WATTS)
    most = thermal.steady_temperature(card, card.tdp_watts)
    state, now, busy = first(card), 0.0, (0, 0)
    assert card.ambient_celsius < least == state.temperature
    for one, other, window in loads:
        now += window
        busy = (busy[0] + cycles(one, window), busy[1] + cycles(other, window))
        state = state.advance(card, seen(now, busy))
        assert least - 1e-6 <= state.temperature <= most + 1e-6
        assert thermal.IDLE_WATTS <= state.power(card) <= card.tdp_watts
        assert state.throttled_until == 0


@given(CARDS, SHARES, SHARES, WINDOWS)
def test_more_work_makes_no_card_cooler(
    card: Card, one: float, other: float, windows: list[float]
) -> None:
    low, high = sorted((one, other))
    for cool, hot in zip(after(card, low, windows), after(card, high, windows), strict=True):
        assert cool.temperature <= hot.temperature + 1e-6
        assert cool.power(card) <= hot.power(card) + 1e-6


@given(CARDS, SHARES, WINDOWS)
def test_who_looks_often_sees_what_who_looks_once_sees(
    card: Card, share: float, windows: list[float]
) -> None:
    often = after(card, share, windows)[-1]
    once = after(card, share, [math.fsum(windows)])[-1]
    assert often.temperature == pytest.approx(once.temperature, abs=1e-4)
    assert often.utilization == pytest.approx(once.utilization, abs=1e-4)


@given(CARDS, SHARES, WINDOWS)
def test_a_card_warms_up_towards_its_steady_state(
    card: Card, share: float, windows: list[float]
) -> None:
    states = after(card, share, windows)
    power = thermal.power_at(card, share)
    for cool, warm in pairwise(states):
        assert cool.temperature <= warm.temperature + 1e-6
    left = 1 - math.exp(-math.fsum(windows) / thermal.TIME_CONSTANT)
    rise = thermal.steady_temperature(card, power) - states[0].temperature
    assert states[-1].temperature - states[0].temperature == pytest.approx(rise * left, abs=1e-3)


@given(CARDS, st.floats(30, 200), SHARES, st.floats(20, 200))
def test_cooling_takes_as_long_as_is_said(
    card: Card, temperature: float, share: float, wanted: float
) -> None:
    power = thermal.power_at(card, share)
    seconds = thermal.cooling_time(card, temperature, power, wanted)
    if temperature <= wanted:
        assert seconds == 0
    elif math.isfinite(seconds):
        reached = thermal.temperature_after(card, temperature, power, seconds)
        assert reached == pytest.approx(wanted, abs=1e-6)
    else:
        assert thermal.steady_temperature(card, power) >= wanted


def test_the_card_of_the_manual() -> None:
    card = Card(0)
    assert first(card).temperature == 25.75
    busy = after(card, 1.0, [90.0])[-1]
    assert busy.power(card) == 60
    assert busy.temperature == pytest.approx(70 - 44.25 / math.e)
    half = first(card).advance(card, seen(10, (cycles(1, 10), 0)))
    assert half.utilization == pytest.approx(0.5)


def test_a_hot_card_is_throttled_until_it_is_cool() -> None:
    card = Card(0, tdp_watts=75, ambient_celsius=55)  # to 111 °C
    states = after(card, 1.0, [10.0] * 60)
    throttled = [one.throttled_until > one.time for one in states]
    begin = throttled.index(True)
    assert states[begin - 1].temperature <= thermal.THROTTLE_CELSIUS < states[begin].temperature
    assert states[begin].power(card) == thermal.power_at(card, 1, throttled=True) == 38
    end = begin + throttled[begin:].index(False)
    assert states[end].temperature <= thermal.RESUME_CELSIUS < states[end - 1].temperature
    assert True in throttled[end:]


def test_the_clock_resumes_though_nobody_looks() -> None:
    card = Card(0)
    hot = replace(first(card), temperature=100.0).advance(card, seen(0.5))
    idle = thermal.steady_temperature(card, thermal.IDLE_WATTS)
    expected = 90 * math.log((hot.temperature - idle) / (85 - idle))
    assert (hot.throttled_until - hot.time) / SECOND == pytest.approx(expected, abs=1e-6)
    never = Card(0, tdp_watts=75, ambient_celsius=55)
    warm = replace(after(never, 1.0, [1000.0])[-1], temperature=300.0)
    still = warm.advance(never, seen(1001, (cycles(1, 1001),) * 2))
    assert still.throttled_until - still.time <= 900 * SECOND


def test_the_fault_overheats_at_once_and_cools_slowly() -> None:
    card = Card(0)
    cool = first(card)
    armed = cool.advance(card, replace(seen(1), overheating=True))
    assert armed.temperature == thermal.OVERHEATED_CELSIUS
    struck = armed.advance(card, seen(2, overheats=3))
    assert struck.temperature == thermal.OVERHEATED_CELSIUS
    assert struck.throttled_until > struck.time
    cooling = struck.advance(card, seen(10, overheats=3))
    assert thermal.RESUME_CELSIUS < cooling.temperature < thermal.OVERHEATED_CELSIUS
    assert cooling.throttled_until == pytest.approx(struck.throttled_until, abs=1000)
    assert struck.advance(card, seen(30, overheats=3)).throttled_until == 0


def test_a_clock_that_is_put_back_changes_nothing() -> None:
    card = Card(0)
    warm = after(card, 1.0, [60.0])[-1]
    back = warm.advance(card, seen(-3600, (cycles(1, 60),) * 2))
    assert (back.temperature, back.utilization) == (warm.temperature, warm.utilization)
    assert back.time < warm.time


def test_counters_never_make_more_than_all_of_the_time() -> None:
    card = Card(0)
    state = first(card).advance(card, seen(1, (cycles(50, 1), cycles(50, 1))))
    assert state.utilization == 1
    assert state.advance(card, seen(2, (0, 0))).utilization == 0

"""The ranges of least loss beside a search through all of them, and the measures of loss."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from furiosa_ep.quantization.clipping import Loss, divergence, least_loss, squared_error
from furiosa_ep.quantization.histogram import Histogram
from furiosa_ep.quantization.ranges import STEPS

Numbers = npt.NDArray[np.float32]


def swish(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = numbers / (1 + np.exp(-numbers))
    return result


DRAWN: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "normal": lambda random, size: random.normal(size=size),
    "shifted": lambda random, size: random.normal(size=size) + 2,
    "relu": lambda random, size: np.maximum(random.normal(size=size), 0),
    "tails": lambda random, size: random.standard_t(3, size=size),
    "below zero": lambda random, size: -random.exponential(size=size),
    "outliers": lambda random, size: np.append(random.normal(size=size), [40, -25]),
    "uniform": lambda random, size: random.uniform(-1, 3, size=size),
    "swish": lambda random, size: swish(random.normal(size=size) * 3),
}
KINDS = tuple(DRAWN)


def drawn(kind: str, seed: int, size: int = 20_000) -> Numbers:
    random = np.random.default_rng(seed)
    return np.asarray(DRAWN[kind](random, size) * 10.0 ** random.integers(-3, 4), np.float32)


def histogram(numbers: Numbers) -> Histogram:
    found = Histogram()
    found.reach(float(numbers.min()), float(numbers.max()))
    found.add(numbers)
    return found


def rounded(numbers: Numbers, low: float, high: float) -> npt.NDArray[np.float64]:
    """What 8 bits hold of numbers, as QuantizeLinear and DequantizeLinear do it."""
    step = (high - low) / STEPS
    first = np.rint(low / step)
    held: npt.NDArray[np.float64] = np.clip(np.rint(numbers / step), first, first + STEPS) * step
    return held


def power_lost(numbers: Numbers, low: float, high: float) -> float:
    return float(np.square(numbers - rounded(numbers.astype(np.float64), low, high)).sum())


@given(st.sampled_from(KINDS), st.integers(0, 99), st.floats(0.1, 1), st.floats(0.1, 1))
@settings(max_examples=60, deadline=None)
def test_the_squared_error_is_that_of_the_numbers(
    kind: str, seed: int, below: float, above: float
) -> None:
    numbers = drawn(kind, seed)
    found = histogram(numbers)
    low, high = min(found.low, 0) * below, max(found.high, 0) * above
    lost = squared_error(found.counts_without_zeros, found.edges, low, high)
    # Bins may be wider than steps, and hide then what rounding does to their numbers.
    slack = 0.02 + found.width / ((high - low) / STEPS) / 10
    assert lost == pytest.approx(power_lost(numbers, low, high), rel=slack)


def every_range(found: Histogram, symmetric: bool) -> list[tuple[float, float]]:
    """Ranges between nothing and the extremes, apart by a fiftieth of the logarithm of 100."""
    shares = np.geomspace(0.01, 1, 51)
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    if symmetric and low < 0 < high:
        most = max(-low, high)
        return [(-most * share, most * share) for share in shares]
    if not low < 0 < high:
        return [(low * share, high * share) for share in shares]
    return [(low * a, high * b) for a in shares for b in shares]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [squared_error, divergence], ids=["mse", "entropy"])
def test_no_range_of_all_loses_much_less(loss: Loss, kind: str, symmetric: bool) -> None:
    found = histogram(drawn(kind, 7))
    counts, edges = found.counts_without_zeros, found.edges
    low, high = least_loss(found, loss, symmetric)
    lost = loss(counts, edges, low, high)
    least = min(loss(counts, edges, *one) for one in every_range(found, symmetric))
    whole = loss(counts, edges, *every_range(found, symmetric)[-1])
    assert lost <= whole
    assert lost <= 1.15 * least + 1e-3 * whole


@given(st.sampled_from(KINDS), st.integers(0, 99), st.booleans())
@settings(max_examples=30, deadline=None)
def test_ranges_hold_zero_and_no_more_than_the_numbers(
    kind: str, seed: int, symmetric: bool
) -> None:
    found = histogram(drawn(kind, seed))
    for loss in (squared_error, divergence):
        low, high = least_loss(found, loss, symmetric)
        assert low <= 0 <= high
        assert low < high
        if symmetric and found.low < 0 < found.high:
            assert low == -high
            assert high <= max(-found.low, found.high)
        else:
            assert min(found.low, 0) <= low
            assert high <= max(found.high, 0)


@pytest.mark.parametrize("loss", [squared_error, divergence])
def test_outliers_are_clipped_and_uniform_numbers_are_not(loss: Loss) -> None:
    random = np.random.default_rng(1)
    numbers = np.append(random.normal(size=1_000_000), 30).astype(np.float32)
    assert least_loss(histogram(numbers), loss)[1] < 15
    low, high = least_loss(histogram(random.uniform(-1, 3, 100_000).astype(np.float32)), loss)
    assert (low, high) == pytest.approx((-1, 3), rel=0.05)


@pytest.mark.parametrize("loss", [squared_error, divergence])
@pytest.mark.parametrize("numbers", [[0.0], [5.0], [-5.0], [0.0, 1e-30], [3e38, -3e38], [0, 0, 1]])
def test_few_numbers_have_a_range(numbers: list[float], loss: Loss) -> None:
    low, high = least_loss(histogram(np.array(numbers, np.float32)), loss)
    most = 1 + 1e-6
    assert min(0, *numbers, 0) * most <= low <= 0 <= high <= max(0, *numbers, 0) * most
    for number in numbers:
        if number:  # neither is a lonely number clipped away
            assert low <= number * 0.5 or high >= number * 0.5


def test_how_often_zero_occurs_does_not_matter() -> None:
    numbers = drawn("normal", 3)
    expected = least_loss(histogram(numbers), squared_error)
    with_zeros = np.concatenate([numbers, np.zeros(10**6, np.float32)])
    assert least_loss(histogram(with_zeros), squared_error) == expected

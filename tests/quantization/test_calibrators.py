"""The built-in calibrators, one array after the other, beside NumPy on all of them."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays

from furiosa_ep.quantization import QuantizationError, percentile
from furiosa_ep.quantization.calibrators import CALIBRATORS, SAMPLE_SIZE

Numbers = npt.NDArray[np.float32]
BY_NAME = {calibrator.name: calibrator for calibrator in CALIBRATORS}
NAMES = (
    *("extremes", "extremes-sym", "average", "entropy", "entropy-sym", "percentile"),
    *("percentile-sym", "mse", "mse-sym", "sqnr", "sqnr-sym"),
)

chunk = arrays(np.float32, st.integers(1, 50), elements=st.floats(-100, 100, width=32))


def found(calibrator: Any, parts: list[Numbers]) -> tuple[float, float]:
    collector = calibrator.collector()
    for numbers in parts:
        low, high = min(float(numbers.min()), 0.0), max(float(numbers.max()), 0.0)
        collector.collect_sample(low, high, numbers)
    low, high = collector.range()
    return min(float(low), 0.0), max(float(high), 0.0)


def test_these_are_built_in() -> None:
    assert tuple(BY_NAME) == NAMES


@given(st.lists(chunk, min_size=1, max_size=5))
def test_extremes(parts: list[Numbers]) -> None:
    numbers = np.append(np.concatenate(parts), np.float32(0))
    low, high = float(numbers.min()), float(numbers.max())
    assert found(BY_NAME["extremes"], parts) == (low, high)
    both = max(-low, high)
    expected = (-both, both) if low < 0 < high else (low, high)
    assert found(BY_NAME["extremes-sym"], parts) == expected


@given(st.lists(chunk, min_size=1, max_size=5))
def test_average(parts: list[Numbers]) -> None:
    low, high = found(BY_NAME["average"], parts)
    assert low == pytest.approx(np.mean([min(0, part.min()) for part in parts]), rel=1e-5)
    assert high == pytest.approx(np.mean([max(0, part.max()) for part in parts]), rel=1e-5)


@given(st.lists(chunk, min_size=1, max_size=5), st.sampled_from([50, 90, 99.99, 100]))
@settings(max_examples=60, deadline=None)
def test_percentiles(parts: list[Numbers], percentage: float) -> None:
    numbers = np.concatenate(parts)
    assume(numbers.any())
    bin_width = 2 * (max(numbers.max(), 0) - min(numbers.min(), 0)) / 4096
    low, high = found(percentile(percentage), parts)
    left_out = numbers.size * (1 - percentage / 100) / 2
    assert (numbers < low - bin_width).sum() <= left_out + 1
    assert (numbers > high + bin_width).sum() <= left_out + 1
    low, high = found(percentile(percentage, symmetric=True), parts)
    assert min(numbers.min(), 0) <= low <= 0 <= high <= max(numbers.max(), 0)
    beyond = (numbers < low - bin_width) | (numbers > high + bin_width)
    assert beyond.sum() <= numbers.size * (1 - percentage / 100) + 1


def test_all_of_the_numbers_are_the_extremes() -> None:
    numbers = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    extremes = (float(numbers.min()), float(numbers.max()))
    assert found(percentile(100), [numbers]) == pytest.approx(extremes)


@pytest.mark.parametrize("percentage", [0, -1, 100.1, float("nan")])
def test_other_percentages_are_refused(percentage: float) -> None:
    with pytest.raises(QuantizationError, match=f"percentage {percentage}: expected more than 0"):
        percentile(percentage)


def test_percentile_is_named_after_its_percentage() -> None:
    assert percentile(99.9).name == "percentile 99.9"
    assert percentile(99.9).sample_size == SAMPLE_SIZE


@pytest.mark.parametrize("name", NAMES)
def test_every_calibrator_finds_a_range_with_zero(name: str) -> None:
    random = np.random.default_rng(2)
    parts = [random.standard_t(4, size=2000).astype(np.float32) for _ in range(4)]
    low, high = found(BY_NAME[name], parts)
    every = np.concatenate(parts)
    assert every.min() * 1.01 <= low < 0 < high or name.endswith("-sym")
    assert low < -1 < 1 < high
    if name.endswith("-sym") and name != "percentile-sym":
        assert low == -high
    for only in (np.abs(every), -np.abs(every)):
        low, high = found(BY_NAME[name], [only])
        assert (low == 0) == (only.max() > 0)
        assert (high == 0) == (only.min() < 0)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_have_the_range_of_zero(name: str) -> None:
    assert found(BY_NAME[name], [np.zeros(100, np.float32)] * 2) == (0, 0)


def test_mean_squared_error_weighs_loud_samples_and_sqnr_all_alike() -> None:
    random = np.random.default_rng(5)
    quiet = [random.normal(size=4000).astype(np.float32) for _ in range(9)]
    loud = [(random.standard_t(3, size=4000) * 30).astype(np.float32)]
    _, by_power = found(BY_NAME["mse"], [*quiet, *loud])
    _, by_share = found(BY_NAME["sqnr"], [*quiet, *loud])
    assert by_share < by_power / 2

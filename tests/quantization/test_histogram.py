"""The streaming histogram beside NumPy's of all numbers."""

import math
from random import Random

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays

from furiosa_ep.quantization import histogram
from furiosa_ep.quantization.histogram import BINS, Histogram

Numbers = npt.NDArray[np.float32]

magnitudes = st.sampled_from([1e-30, 1e-6, 1.0, 300.0, 1e30])
chunks = st.lists(
    st.tuples(
        magnitudes,
        arrays(np.float32, st.integers(0, 40), elements=st.floats(-1, 1, width=32)),
    ).map(lambda pair: (pair[1] * np.float32(pair[0])).astype(np.float32)),
    min_size=1,
    max_size=8,
)


def collected(parts: list[Numbers], weight: float = 1.0) -> Histogram:
    found = Histogram()
    for numbers in parts:
        if numbers.size:
            found.reach(float(numbers.min()), float(numbers.max()))
        found.add(numbers, weight)
    return found


@given(chunks)
@settings(max_examples=80, deadline=None)
def test_counts_are_those_of_all_numbers_together(parts: list[Numbers]) -> None:
    numbers = np.concatenate(parts)
    assume(numbers.any())
    found = collected(parts)
    assert found.counts.size <= BINS
    assert found.counts.sum() == numbers.size
    # In units of a bin NumPy's edges are exact. Its last bin has an upper edge, ours has none.
    units = numbers.astype(np.float64) / found.width
    edges = found.edges / found.width
    assert np.array_equal(edges, np.arange(edges[0], edges[0] + edges.size))
    expected, _ = np.histogram(units, edges)
    assert np.array_equal(found.counts, expected)
    assert (found.low, found.high) == (numbers.min(), numbers.max())
    assert found.zeros == (numbers == 0).sum()
    without = found.counts_without_zeros
    assert without.sum() == np.count_nonzero(numbers)
    assert np.array_equal(without, np.histogram(units[units != 0], edges)[0])


@given(chunks, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_does_not_matter(parts: list[Numbers], random: Random) -> None:
    first = collected(parts)
    shuffled = list(parts)
    random.shuffle(shuffled)
    second = collected(shuffled)
    assert np.array_equal(first.counts, second.counts)
    assert np.array_equal(first.edges, second.edges)
    assert first.zeros == second.zeros


@given(chunks)
@settings(max_examples=40, deadline=None)
def test_bins_are_as_narrow_as_their_number_allows(parts: list[Numbers]) -> None:
    numbers = np.concatenate(parts)
    assume(numbers.any())
    found = collected(parts)
    assert math.frexp(found.width)[0] == 0.5
    low, high = min(0.0, found.low), max(0.0, found.high)
    half = found.width / 2
    assert math.floor(high / half) - math.floor(low / half) + 1 > BINS


@given(chunks, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_quantiles_are_right_to_a_bin(parts: list[Numbers], share: float) -> None:
    numbers = np.sort(np.concatenate(parts)).astype(np.float64)
    assume(numbers.any())
    histogram = collected(parts)
    found = histogram.quantile(share)
    assert histogram.low <= found <= histogram.high
    # Of all numbers, this share lies below the number found, give or take what its bin holds.
    below = np.searchsorted(numbers, found - histogram.width, "left")
    up_to = np.searchsorted(numbers, found + histogram.width, "right")
    assert below - 1e-6 <= share * numbers.size <= up_to + 1e-6


def test_numbers_weigh_what_is_said() -> None:
    found = Histogram()
    found.reach(0, 4)
    found.add(np.array([0, 1, 1], np.float32), 0.5)
    found.add(np.array([1, 3], np.float32), 2)
    assert found.counts.sum() == 0.5 * 3 + 2 * 2
    assert found.zeros == 0.5
    assert found.quantile(0.6) == pytest.approx(1, abs=found.width)
    assert found.quantile(0.7) == pytest.approx(3, abs=found.width)


def test_after_plenty_a_fourth_counts_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histogram, "PLENTY", 1000)
    found = Histogram()
    found.reach(0, 1)
    numbers = np.linspace(0, 1, 1000, dtype=np.float32)
    for _ in range(9):
        found.add(numbers)
    assert found.counts.sum() == 9000
    coarse = found.counts.cumsum()[:: BINS // 16]
    assert coarse == pytest.approx(np.linspace(0, 9000, coarse.size), abs=700)


@pytest.mark.parametrize("numbers", [[], [0, 0, 0]])
def test_a_histogram_of_nothing_but_zeros(numbers: list[float]) -> None:
    found = collected([np.array(numbers, np.float32)])
    assert found.counts.sum() == len(numbers)
    assert not found.counts_without_zeros.any()
    if numbers:
        assert found.quantile(0.5) == 0
    else:
        with pytest.raises(ValueError, match="an empty histogram has no quantiles"):
            found.quantile(0.5)


@pytest.mark.parametrize("extreme", [1e-45, 1e-38, 3.4e38])
def test_the_smallest_and_largest_numbers_fit(extreme: float) -> None:
    numbers = np.array([extreme, -extreme, 0, extreme / 2], np.float32)
    found = collected([numbers[:1], numbers])
    assert found.counts.sum() == 5
    assert found.counts_without_zeros.sum() == np.count_nonzero(numbers) + 1

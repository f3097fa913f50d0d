"""Bitwise comparison of outputs."""

import numpy as np
import pytest

from furiosa_ep.comparison import first_difference


def test_equal_bits_have_no_difference() -> None:
    values = np.array([0.0, np.nan, np.inf, 1e-45], np.float32)
    assert first_difference("y", values, values.copy()) is None


def test_zeros_of_both_signs_differ() -> None:
    found = first_difference("y", np.array([0.0], np.float32), np.array([-0.0], np.float32))
    assert found is not None
    assert found.index == (0,)


def test_first_index_both_values_and_extent_are_told() -> None:
    expected = np.zeros((2, 3), np.uint8)
    actual = expected.copy()
    actual[1, 0], actual[1, 2] = 1, 3
    found = first_difference("y", expected, actual)
    assert found is not None
    assert (found.index, found.expected, found.actual) == ((1, 0), "0", "1")
    assert (found.count, found.largest) == (2, 3.0)
    assert str(found) == (
        "output 'y' at [1, 0]: 1, the CPU provider gives 0 (2 elements differ, by up to 3)"
    )


@pytest.mark.parametrize("actual", [np.zeros(3, np.float32), np.zeros((2, 2), np.float64)])
def test_dtype_and_shape_count(actual: np.ndarray) -> None:
    found = first_difference("y", np.zeros((2, 2), np.float32), actual)
    assert found is not None
    assert found.expected == "float32 [2, 2]"


def test_scalars_and_empty_arrays_compare() -> None:
    assert first_difference("y", np.float32(1).reshape(()), np.float32(1).reshape(())) is None
    assert first_difference("y", np.float32(1).reshape(()), np.float32(2).reshape(())) is not None
    assert first_difference("y", np.zeros((0, 3)), np.zeros((0, 3))) is None


def test_strings_and_sequences_compare() -> None:
    assert first_difference("y", np.array(["a", "b"], object), np.array(["a", "b"], object)) is None
    found = first_difference("y", np.array(["a", "b"], object), np.array(["a", "c"], object))
    assert found is not None
    assert found.index == (1,)
    assert first_difference("y", [1, 2], [1, 2]) is None
    assert first_difference("y", [1, 2], [1, 3]) is not None

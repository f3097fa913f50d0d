"""From ranges to scales and zero points, and which ranges values have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa_ep.quantization.parameters import (
    far_apart_at_the_end,
    parameters_of,
    value_ranges,
)
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.units import find_scheme
from tests.quantization.optimizing import normal, parse, standard

magnitudes = st.floats(0, 2.0**100, width=32)


@given(low=magnitudes, high=magnitudes, dtype=st.sampled_from([np.uint8, np.int8]))
def test_both_ends_are_within_half_a_step_and_zero_is_exact(
    low: float, high: float, dtype: type[np.integer]
) -> None:
    scale, zero_point = parameters_of(Range(-low, high), dtype)
    limits = np.iinfo(dtype)
    assert scale.dtype == np.float32
    assert zero_point.dtype == dtype
    assert 0 < scale < np.inf
    lowest, highest = (
        (float(end) - float(zero_point)) * float(scale) for end in (limits.min, limits.max)
    )
    assert abs(lowest + low) <= 0.501 * scale
    held = abs(highest - high) <= 0.501 * scale
    assert held or low + high < 256 * np.finfo(np.float32).tiny


@pytest.mark.parametrize(
    ("found", "scale", "zero_point"),
    [
        (Range(0.0, 255 / 256), 1 / 256, 0),
        (Range(-1.0, 127 / 128), 1 / 128, 128),
        (Range(0.0, 0.0), 1.0, 0),
        (Range(0.0, 1e-45), np.finfo(np.float32).tiny, 0),
    ],
)
def test_parameters_of_some_ranges(found: Range, scale: float, zero_point: int) -> None:
    parameters = parameters_of(found, np.uint8)
    assert parameters.scale == np.float32(scale)
    assert parameters.zero_point == zero_point
    assert parameters_of(found, np.int8).zero_point == zero_point - 128


CONCAT = (
    "(float[1,4,8,8] x) => (float[1,8,6,6] y%s) "
    "{ a = Conv(x, w) b = Conv(x, v) c = Concat<axis=1>(a, b) y = Sqrt(c) %s }"
)


def concat(output: str = "", node: str = "") -> Scheme:
    weights = {"w": normal(4, 4, 3, 3), "v": normal(4, 4, 3, 3)}
    return find_scheme(standard(parse(CONCAT % (output, node), **weights)))


def test_inputs_that_a_concat_alone_reads_have_its_range() -> None:
    found = concat()
    wide, narrow = Range(-4.0, 4.0), Range(0.0, 1.0)
    ranges = value_ranges(found, {"x": narrow, "a": narrow, "b": wide, "c": wide, "y": narrow})
    assert ranges == {"x": narrow, "a": wide, "b": wide, "c": wide, "y": narrow}


@pytest.mark.parametrize(("width", "shared"), [(3.0, True), (1.0, False)])
def test_inputs_that_others_read_have_it_where_it_costs_little(width: float, shared: bool) -> None:
    found = concat(", float[1,4,6,6] z", "z = Sqrt(a)")
    wide, narrow = Range(0.0, 4.0), Range(0.0, width)
    ranges = value_ranges(
        found, {"x": narrow, "a": narrow, "b": wide, "c": wide, "y": narrow, "z": narrow}
    )
    assert ranges["a"] == (wide if shared else narrow)


@pytest.mark.parametrize(
    ("tail", "low", "expected"),
    [
        ("c = Concat<axis=1>(a, b) y = Transpose<perm=[0,2,3,1]>(c)", 1.0, {"Concat", "Transpose"}),
        ("c = Concat<axis=1>(a, b) y = Transpose<perm=[0,2,3,1]>(c)", 100.0, set()),
        ("c = Concat<axis=1>(a, b) y = Sqrt(c)", 1.0, set()),
        ("y = Concat<axis=1>(a, b)", 1.0, {"Concat"}),
    ],
)
def test_boxes_and_scores_are_not_joined_in_8_bits(
    tail: str, low: float, expected: set[str]
) -> None:
    text = f"(float[1,4,8,8] x) => (float[n,c,h,k] y) {{ a = Conv(x, w) b = Conv(x, v) {tail} }}"
    found = find_scheme(standard(parse(text, w=normal(4, 4, 3, 3), v=normal(4, 4, 3, 3))))
    ranges = {name: Range(0.0, 640.0) for name in found.calibrated} | {"b": Range(0.0, low)}
    left = far_apart_at_the_end(found, ranges)
    assert {found.model.graph.node[p].op_type for p in left} == expected

"""Ranges: kept as JSON, merged, checked, edited, and used again."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from onnx import numpy_helper

from furiosa_ep.quantization import (
    QuantizationError,
    Range,
    calibrate,
    load_ranges,
    merge_ranges,
    quantize_model,
    save_ranges,
)
from furiosa_ep.quantization.ranges import check_ranges

number = st.floats(-3e38, 3e38, allow_nan=False)
ranges = st.dictionaries(
    st.text(max_size=5), st.tuples(number, number).map(lambda pair: tuple(sorted(pair)))
)


def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,2] y) '
        "<float[4,2] w = {1,-2,3,4,-5,6,7,8}> { m = MatMul(x, w)  y = Sigmoid(m) }"
    )


def samples() -> list[Any]:
    random = np.random.default_rng(0)
    return [random.normal(size=(1, 4)).astype(np.float32) for _ in range(4)]


@given(ranges)
def test_ranges_are_kept(tmp_path_factory: pytest.TempPathFactory, given_ranges: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "ranges.json"
    save_ranges(given_ranges, path)
    assert load_ranges(path) == check_ranges(given_ranges)
    save_ranges(load_ranges(str(path)), str(path))
    assert load_ranges(path) == check_ranges(given_ranges)


@given(ranges, ranges, ranges)
def test_merged_ranges_hold_all(first: Any, second: Any, third: Any) -> None:
    merged = merge_ranges(first, second, third)
    assert merged == merge_ranges(third, merge_ranges(second, first))
    assert merged.keys() == first.keys() | second.keys() | third.keys()
    for name, (low, high) in merged.items():
        ends = [end for one in (first, second, third) if name in one for end in one[name]]
        assert (low, high) == (min(0, *ends), max(0, *ends))
    assert merge_ranges() == {}


def test_the_file_is_for_people(tmp_path: Path) -> None:
    save_ranges({"größe": (float(np.float32(-1.5)), 2), "b": [1, 3]}, tmp_path / "ranges.json")
    text = (tmp_path / "ranges.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"größe": [-1.5, 2], "b": [0, 3]}
    assert "größe" in text
    assert text.endswith("\n")
    assert text.count("\n") > 4


def test_ranges_that_were_calibrated_are_used_again(tmp_path: Path) -> None:
    found = calibrate(model(), samples(), "extremes")
    save_ranges(found, tmp_path / "ranges.json")
    kept = load_ranges(tmp_path / "ranges.json")
    assert kept == found
    assert quantize_model(model(), (), "min-max", ranges=kept) == quantize_model(
        model(), samples(), "min-max"
    )


def test_ranges_can_be_edited_and_be_a_part_of_all() -> None:
    quantized = quantize_model(model(), samples(), "min-max", ranges={"x": [-12.8, 12.7]})
    node = next(n for n in quantized.graph.node if n.input[0] == "x")
    (scale,) = (i for i in quantized.graph.initializer if i.name == node.input[1])
    assert float(numpy_helper.to_array(scale)) == pytest.approx(0.1)


def test_what_no_range_is_known_of_needs_data() -> None:
    with pytest.raises(QuantizationError, match=r"no calibration data: .* ranges of m"):
        quantize_model(model(), ranges={"x": (-1, 1)})


@pytest.mark.parametrize("name", ["z", "w", ""])
def test_ranges_of_unknown_values_are_refused(name: str) -> None:
    with pytest.raises(QuantizationError, match=f"{name!r}.* quantizes no value"):
        quantize_model(model(), samples(), ranges={name: (-1, 1)})


@pytest.mark.parametrize(
    "given_range",
    [
        *((2, 1), (1,), (1, 2, 3), (), 1, None, "ab", ("low", "high"), (None, 1)),
        *((float("nan"), 1), (0, float("inf")), {"low": 0, "high": 1}),
    ],
)
def test_what_is_no_range_is_refused(given_range: Any, tmp_path: Path) -> None:
    message = r"the range of 'x' is .*: expected two finite numbers, the lower one first"
    for use in (check_ranges, merge_ranges, lambda found: save_ranges(found, tmp_path / "r.json")):
        with pytest.raises(QuantizationError, match=message):
            use({"x": given_range})
    with pytest.raises(QuantizationError, match=message):
        quantize_model(model(), samples(), ranges={"x": given_range})
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", r"ranges\.json: expected an object from name to \[low, high\]"),
        ("{", r"cannot read the ranges in .*ranges\.json: .*line 1"),
        ('{"x": [1]}', r"the range of 'x' is \[1\]"),
        ('{"x": [0, NaN]}', "the range of 'x' is"),
        ("\udcff", r"cannot read the ranges in .*: .*utf-8"),
        (None, r"cannot read the ranges in .*: .*No such file"),
    ],
)
def test_files_without_ranges_are_refused(
    content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "ranges.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(QuantizationError, match=message):
        load_ranges(tmp_path / "ranges.json")


def test_ranges_are_named_tuples() -> None:
    assert Range(-1, 2).low == -1
    low, high = Range(-1, 2)
    assert (low, high) == (-1, 2)

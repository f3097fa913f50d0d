"""`Samples` and `feeds`: samples in every form, more than once, and what does not fit."""

import gc
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.samples import Feed, Samples, feeds, known_length

Array = npt.NDArray[Any]
X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
IDS = helper.make_tensor_value_info("ids", TensorProto.INT64, [2])


def given(count: int = 5) -> list[Feed]:
    return [
        {"x": np.full((1 + i % 2, 3), i, np.float32), "ids": np.array([i, -i])}
        for i in range(count)
    ]


class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, items: Iterable[Feed]) -> None:
        self._items = iter(items)

    def get_next(self) -> Feed | None:
        return next(self._items, None)


class Getting:
    """Iterable by numbers alone."""

    def __init__(self, items: list[Feed]) -> None:
        self._items = items

    def __getitem__(self, index: int) -> Feed:
        return self._items[index]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


FORMS: list[Callable[[list[Feed]], Any]] = [
    list,
    tuple,
    iter,
    Reader,
    Getting,
    lambda x: map(dict, x),
]


def same(left: Iterable[Feed], right: Iterable[Feed]) -> bool:
    return [{n: (a.dtype, a.tolist()) for n, a in feed.items()} for feed in left] == [
        {n: (a.dtype, a.tolist()) for n, a in feed.items()} for feed in right
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [None, 0, 3, 9])
def test_samples_come_as_often_as_they_are_asked_for(
    form: Callable[[list[Feed]], Any], limit: int | None
) -> None:
    samples = Samples(form(given()), [X, IDS], limit)
    for _ in range(3):
        assert same(samples, given()[:limit])


@pytest.mark.parametrize("form", FORMS)
def test_passes_may_be_broken_off_and_interleaved(form: Callable[[list[Feed]], Any]) -> None:
    samples = Samples(form(given()), [X, IDS])
    first = iter(samples)
    taken = [next(first), next(first)]
    second = iter(samples)
    assert same([next(second) for _ in range(3)], given()[:3])
    assert same([*taken, *first], given())
    assert same(second, given()[3:])


def test_no_more_is_taken_than_asked_for() -> None:
    taken = []

    def generate() -> Iterator[Feed]:
        for feed in given():
            taken.append(feed)
            yield feed

    samples = Samples(generate(), [X, IDS], 2)
    assert len(list(samples)) == len(list(samples)) == len(taken) == 2


def test_samples_of_an_iterator_are_not_held_in_memory() -> None:
    samples = Samples((feed for feed in given(50)), [X, IDS])
    for _ in range(2):
        alive = [weakref.ref(feed["x"]) for feed in samples]
        gc.collect()
        assert len(alive) == 50
        assert not any(array() is not None for array in alive)


def test_the_file_has_no_name_and_goes_with_the_samples(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    samples = Samples(iter(given()), [X, IDS])
    assert len(list(samples)) == 5
    assert not list(tmp_path.iterdir())
    opened = open_files()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del samples
        gc.collect()
    assert not caught
    assert open_files() < opened


@pytest.mark.parametrize(
    ("element", "array"),
    [
        (TensorProto.FLOAT, np.array([np.nan, -0.0, np.inf], np.float32)),
        (TensorProto.FLOAT16, np.array([1.5], np.float16)),
        (TensorProto.BFLOAT16, np.array([1.5, -2], ml_dtypes.bfloat16)),
        (TensorProto.BOOL, np.array([True, False])),
        (TensorProto.UINT8, np.array(7, np.uint8)),
        (TensorProto.INT64, np.zeros((2, 0, 3), np.int64)),
        (TensorProto.STRING, np.array(["a", "größer"], object)),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_arrays_of_every_type_come_back_as_they_were(element: int, array: Array) -> None:
    value = helper.make_tensor_value_info("x", element, None)
    samples = Samples(iter([array]), [value])
    for _ in range(2):
        (feed,) = samples
        assert feed["x"].dtype == array.dtype
        assert feed["x"].shape == array.shape
        assert feed["x"].tobytes() == array.tobytes() or feed["x"].tolist() == array.tolist()


@pytest.mark.parametrize(
    ("data", "limit", "length"),
    [
        (given(), None, 5),
        (given(), 3, 3),
        (given(), 9, 5),
        (iter(given()), None, 5),
        ((feed for feed in given()), None, 0),
        (Reader(given()), 3, 0),
    ],
    ids=["list", "fewer", "more", "iterator", "generator", "reader"],
)
def test_the_length_is_told_where_it_is_known(data: Any, limit: int | None, length: int) -> None:
    assert known_length(Samples(data, [X, IDS], limit)) == length


@pytest.mark.parametrize(
    "data", [None, 5, "images", b"images", {"x": np.zeros((1, 3))}, np.array(1)]
)
@pytest.mark.parametrize("take", [feeds, Samples])
def test_what_holds_no_samples_is_refused(data: Any, take: Callable[..., Iterable[Feed]]) -> None:
    with pytest.raises(QuantizationError, match=f"data of type {type(data).__name__}: expected"):
        list(take(data, [X]))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.zeros((1, 3), np.float32), "is one array, but the model has the inputs x, ids"),
        ({"x": 0}, "has the inputs x, the model has ids, x"),
        ({"x": 0, "ids": 0, "z": 0}, "has the inputs ids, x, z, the model has ids, x"),
        ({"x": [[1, 2, 3]], "ids": [1.5, 2]}, "input 'ids' is float64, the model takes int64"),
        ({"x": [["a", "b", "c"]], "ids": [1, 2]}, "input 'x' is <U1, the model takes float32"),
        ({"x": [[1, 2, 3], [4]], "ids": [1, 2]}, "input 'x' is no array: .*inhomogeneous"),
        ({"x": [[1, 2]], "ids": [1, 2]}, "input 'x' has the shape 1x2, the model takes nx3"),
        ({"x": [1, 2, 3], "ids": [1, 2]}, "input 'x' has the shape 3, the model takes nx3"),
        ({"x": 1, "ids": [1, 2]}, "input 'x' has the shape of a scalar, the model takes nx3"),
    ],
)
def test_what_does_not_fit_the_inputs_is_told_with_the_sample(item: Any, message: str) -> None:
    for form in (list, iter):
        with pytest.raises(QuantizationError, match=f"^calibration sample 2:? {message}"):
            list(Samples(form([*given(2), item]), [X, IDS]))


def test_numbers_go_on_from_the_first() -> None:
    with pytest.raises(QuantizationError, match="sample 12 "):
        list(feeds([*given(2), {}], [X, IDS], 10))


def test_samples_are_copies_in_the_dtype_of_the_input() -> None:
    array = np.arange(6).reshape(2, 3)
    for _ in range(2):
        (feed,) = feeds([array.T.copy().T], [X])
        assert feed["x"].dtype == np.float32
        assert feed["x"].flags.c_contiguous
        feed["x"][...] = 0
        assert array[1, 2] == 5


def test_inputs_without_a_shape_take_any() -> None:
    value = onnx.ValueInfoProto(name="x")
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    assert [feed["x"].shape for feed in feeds([0, [1], [[1, 2]]], [value])] == [(), (1,), (1, 2)]

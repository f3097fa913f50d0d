"""Random inputs for a model."""

from dataclasses import dataclass

import numpy as np
import pytest

from furiosa_ep.cli.selftest import tiny_model
from furiosa_ep.inputs import InputError, quantized_ranges, random_feeds


@dataclass(frozen=True)
class Input:
    name: str
    type: str
    shape: list[int | str | None]


IMAGE = Input("x", "tensor(float)", ["batch", 3, None, 8])


def test_same_seed_gives_the_same_feeds() -> None:
    first, second = (list(random_feeds([IMAGE], 2, seed=5)) for _ in range(2))
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0]["x"], first[1]["x"])


def test_open_dimensions_are_filled() -> None:
    (feed,) = random_feeds([IMAGE], 1)
    assert feed["x"].shape == (1, 3, 64, 8)
    (feed,) = random_feeds([IMAGE], 1, shapes={"x": (2, 3, 5, 8)})
    assert feed["x"].shape == (2, 3, 5, 8)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool", "double", "float16"])
def test_dtype_is_the_models(dtype: str) -> None:
    (feed,) = random_feeds([Input("x", f"tensor({dtype})", [100])], 1)
    assert feed["x"].dtype == np.dtype({"double": "float64"}.get(dtype, dtype))
    assert len(np.unique(feed["x"])) > 1


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8)])
def test_shape_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="does not fit"):
        list(random_feeds([IMAGE], 1, shapes={"x": shape}))


def test_unknown_input_is_refused() -> None:
    with pytest.raises(InputError, match="no input 'z'; the model has x"):
        list(random_feeds([IMAGE], 1, shapes={"z": (1,)}))


def test_strings_are_refused() -> None:
    with pytest.raises(InputError, match="tensor\\(string\\)"):
        list(random_feeds([Input("s", "tensor(string)", [1])], 1))


def test_range_of_a_quantized_input_reaches_beyond_its_limits() -> None:
    ranges = quantized_ranges(tiny_model())
    assert ranges["x"] == pytest.approx((0.02 * -132, 0.02 * 131))
    (feed,) = random_feeds([Input("x", "tensor(float)", [10_000])], 1, ranges=ranges)
    steps = np.rint(feed["x"] / 0.02) + 128
    assert steps.min() < 0
    assert steps.max() > 255

from itertools import product

import numpy as np
import pytest

from furiosa_ep.compiler.codegen.views import Buffer, View, collapse, reshaped_strides
from furiosa_ep.program import DType, Storage


def as_array(view: View) -> np.ndarray:
    memory = np.arange(4096, dtype=np.uint16)
    strides = [stride * memory.itemsize for stride in view.strides]
    return np.ndarray(view.dims, memory.dtype, memory, view.offset * memory.itemsize, strides)


def dense(*dims: int, order: tuple[int, ...] = ()) -> View:
    return View.dense(Buffer(Storage.ARENA, 4096), DType.U8, dims, order)


def random_view(random: np.random.Generator) -> View:
    """A view of up to 5 dims after some movements."""
    rank = int(random.integers(1, 6))
    dims = tuple(int(dim) for dim in random.integers(1, 5, rank))
    view = dense(*dims, order=tuple(int(axis) for axis in random.permutation(rank)))
    if random.random() < 0.3:
        view = view.slice([0] * rank, tuple(max(1, dim - 1) for dim in dims))
    if random.random() < 0.3:
        view = view.slice(
            [dim - 1 for dim in view.dims], tuple(-(-d // 2) for d in view.dims), [-2] * rank
        )
    if random.random() < 0.3:
        view = view.expand((2, *view.dims))
    return view


def test_movements_are_those_of_numpy() -> None:
    view = dense(2, 3, 4)
    array = as_array(view)
    np.testing.assert_array_equal(as_array(view.transpose((2, 0, 1))), array.transpose(2, 0, 1))
    sliced = view.slice((1, 0, 3), (1, 2, 2), (1, 2, -2))
    np.testing.assert_array_equal(as_array(sliced), array[1:, ::2, 3:0:-2])
    expanded = dense(3, 1).expand((2, 3, 4))
    np.testing.assert_array_equal(
        as_array(expanded), np.broadcast_to(as_array(dense(3, 1)), (2, 3, 4))
    )


def test_dense_follows_the_order_of_axes() -> None:
    assert dense(2, 3, 4, 5, order=(0, 2, 3, 1)).strides == (60, 1, 15, 3)


def test_reshape_is_a_view_exactly_where_strides_can_say_it() -> None:
    random = np.random.default_rng(1)
    views = 0
    for _ in range(500):
        view = random_view(random)
        for dims in _factorizations(view.size, random):
            strides = reshaped_strides(view.dims, view.strides, dims)
            wanted = as_array(view).reshape(dims)
            possible = _is_strided(wanted)
            assert (strides is not None) == possible, (view, dims)
            if strides is not None:
                reshaped = View(view.buffer, view.dtype, dims, strides, view.offset)
                np.testing.assert_array_equal(as_array(reshaped), wanted)
                views += 1
    assert views > 300


def _factorizations(size: int, random: np.random.Generator) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [(size,)]
    for _ in range(3):
        dims, left = [], size
        while left > 1:
            dims.append(int(random.choice([d for d in range(1, left + 1) if left % d == 0])))
            left //= dims[-1]
        found.append((*dims, 1))
    return found


def _is_strided(addresses: np.ndarray) -> bool:
    """Whether an array of addresses is one that strides enumerate."""
    moved = addresses.astype(int)
    return all(len(np.unique(np.diff(moved, axis=axis))) <= 1 for axis in range(moved.ndim))


@pytest.mark.parametrize("keep_last", [False, True])
def test_collapse_visits_the_same_elements_in_order(keep_last: bool) -> None:
    random = np.random.default_rng(2)
    for _ in range(300):
        first = random_view(random)
        second = dense(*first.dims)
        dims, strides = collapse(first.dims, [first.strides, second.strides], keep_last=keep_last)
        assert len(dims) <= max(1, len(first.dims))
        if keep_last:
            assert dims[-1] == first.dims[-1]
        for view, own in zip((first, second), strides, strict=True):
            assert _addresses(dims, own) == _addresses(view.dims, view.strides)


def _addresses(dims: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    return [
        sum(i * stride for i, stride in zip(index, strides, strict=True))
        for index in product(*map(range, dims))
    ]


def test_collapse_merges_all_of_a_dense_view() -> None:
    image = dense(1, 8, 4, 4, order=(0, 2, 3, 1))
    order = image.memory_order()
    strides = [image.strides[axis] for axis in order]
    assert collapse([image.dims[axis] for axis in order], [strides]) == ((128,), [(1,)])


@pytest.mark.parametrize(
    ("view", "order"),
    [
        (dense(2, 3, 4, 5, order=(0, 2, 3, 1)), (0, 2, 3, 1)),
        (dense(1, 3, 4, 5, order=(0, 2, 3, 1)), (2, 3, 0, 1)),
        (dense(2, 3, 1, 1, order=(0, 2, 3, 1)), (0, 1, 2, 3)),
        (dense(3, 1).expand((2, 3, 4)), (0, 2, 1)),
    ],
)
def test_memory_order(view: View, order: tuple[int, ...]) -> None:
    assert view.memory_order() == order


def test_same_place_ignores_strides_of_single_elements() -> None:
    view = dense(1, 4)
    other = View(view.buffer, view.dtype, (1, 4), (99, 1))
    assert view.same_place(other)
    assert not view.same_place(view.slice((0, 0), (1, 3)))
    assert not view.same_place(dense(1, 4))

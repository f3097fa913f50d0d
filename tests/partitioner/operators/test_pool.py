from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import (
    IMAGE,
    check_function,
    check_movement,
    operator,
)
from tests.partitioner.operators.qdq import declined, declines

WINDOWS: list[dict[str, Any]] = [
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [3, 2], "ceil_mode": 1, "pads": [1, 0, 0, 1]},
    {"kernel_shape": [3, 2], "strides": [2, 1], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "VALID"},
    {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "shape": (2, 8, 9)},
]


@pytest.mark.parametrize("window", [*WINDOWS, {"kernel_shape": [2, 2], "dilations": [2, 2]}])
def test_max_pool(window: dict[str, Any]) -> None:
    check_movement("MaxPool", **window)


@pytest.mark.parametrize("opset", [17, 19])
@pytest.mark.parametrize("count_include_pad", [0, 1])
@pytest.mark.parametrize("window", WINDOWS)
def test_average_pool(window: dict[str, Any], count_include_pad: int, opset: int) -> None:
    check_function("AveragePool", opset=opset, count_include_pad=count_include_pad, **window)


def test_average_of_the_whole_image() -> None:
    check_function("AveragePool", kernel_shape=list(IMAGE[2:]), scale=0.01)


@pytest.mark.parametrize("shape", [IMAGE, (2, 8, 7), (1, 3, 2, 3, 4), (1, 64, 7, 7)])
def test_global_pools(shape: tuple[int, ...]) -> None:
    check_function("GlobalAveragePool", shape, scale=0.01)
    check_function("GlobalMaxPool", shape)
    check_function("GlobalMaxPool", shape, form="same")
    check_function("GlobalMaxPool", shape, form="float")


def test_indices_of_the_maxima_are_declined() -> None:
    q = operator("MaxPool", kernel_shape=[2, 2])
    q.nodes[1].output.append("indices")
    q.float_outputs.append("indices")
    assert declines(q.model())[0].code == DeclineCode.ATTRIBUTE


def test_windows_over_three_axes_are_declined() -> None:
    found = declined(operator("MaxPool", (1, 2, 4, 4, 4), kernel_shape=[2, 2, 2]))
    assert found.code == DeclineCode.RANK


def test_dilated_windows_that_may_miss_the_image_are_declined() -> None:
    found = declined(operator("MaxPool", kernel_shape=[2, 2], dilations=[2, 2], pads=[1] * 4))
    assert found.code == DeclineCode.ATTRIBUTE


def test_dilated_averages_are_declined() -> None:
    found = declined(operator("AveragePool", opset=19, kernel_shape=[2, 2], dilations=[2, 1]))
    assert found.code == DeclineCode.ATTRIBUTE


def test_types_of_an_average_are_the_same() -> None:
    q = operator("GlobalAveragePool", form="float")
    q.float_outputs.clear()
    q.dtype = np.int8
    q.y(q.nodes[-1].output[0])
    assert declined(q).code == DeclineCode.DTYPE

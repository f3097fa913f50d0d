"""AVERAGE_POOL: the reference against ONNX Runtime, the native command against the reference."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.kernels.reference import REFERENCE
from tests.kernels.conv_case import assert_same
from tests.kernels.one_command import check_native
from tests.kernels.qdq_model import (
    QdqModel,
    Quantization,
    channels_first,
    channels_last,
    random_bytes,
    random_quantization,
)


def random_window(rng: np.random.Generator) -> dict[str, list[int]]:
    kernel = rng.integers(1, 5, 2)
    pads = rng.integers(0, kernel.repeat(2).reshape(2, 2).T.ravel())
    return {
        "kernel_shape": kernel.tolist(),
        "strides": rng.integers(1, 4, 2).tolist(),
        "pads": pads.tolist(),
    }


def attributes_of(window: dict[str, list[int]], include_pad: int, signed: int) -> dict[str, Any]:
    (kernel_h, kernel_w), (stride_h, stride_w) = window["kernel_shape"], window["strides"]
    return {
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "stride_h": stride_h,
        "stride_w": stride_w,
        "dilation_h": 1,
        "dilation_w": 1,
        "pad_top": window["pads"][0],
        "pad_left": window["pads"][1],
        "count_include_pad": include_pad,
        "signed": signed,
    }


@pytest.mark.parametrize("seed", range(40))
def test_reference_equals_onnxruntime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signed = bool(seed % 2)
    x_params = random_quantization(rng, signed=signed)
    y_params = random_quantization(rng, like=x_params, signed=signed)
    window, include_pad = random_window(rng), int(rng.integers(2))
    x = random_bytes(rng, (2, 9, 13, 12))
    model = QdqModel(
        "AveragePool",
        x_params,
        y_params,
        {**window, "count_include_pad": include_pad, "ceil_mode": int(rng.integers(2))},
    )
    expected = model.run(x)
    attributes = attributes_of(window, include_pad, signed)
    attributes |= x_params.parameters("x") | y_params.parameters("y")
    actual = np.zeros_like(channels_last(expected))
    REFERENCE["AVERAGE_POOL"]([channels_last(x), None], attributes, actual)
    assert_same(channels_first(actual), expected, window)


def test_sums_beyond_int32_become_the_lowest_byte_as_in_onnxruntime() -> None:
    x_params = Quantization(np.float32(1), 0)
    y_params = Quantization(np.float32(1e-8), 3)
    x = np.full((1, 1, 2, 3), 255, np.uint8)
    window = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    expected = QdqModel("AveragePool", x_params, y_params, window).run(x)
    attributes = attributes_of(window, 0, 0) | x_params.parameters("x") | y_params.parameters("y")
    actual = np.ones((1, 1, 2, 1), np.uint8)
    REFERENCE["AVERAGE_POOL"]([channels_last(x), None], attributes, actual)
    assert actual.ravel().tolist() == expected.ravel().tolist() == [0, 0]


def test_a_window_as_large_as_the_image_is_a_global_average_pool() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        x_params = random_quantization(rng)
        y_params = random_quantization(rng, like=x_params)
        x = random_bytes(rng, (2, 30, 5, 6))
        node = {"kernel_shape": [5, 6], "strides": [2, 1]}
        expected = QdqModel("AveragePool", x_params, y_params, node).run(x)
        actual = np.zeros_like(channels_last(expected))
        attributes = {
            "x_zero_point": x_params.zero_point,
            "y_zero_point": y_params.zero_point,
            "multiplier": x_params.scale / (y_params.scale * np.float32(30)),
        }
        REFERENCE["GLOBAL_AVERAGE_POOL"]([channels_last(x), None], attributes, actual)
        assert_same(channels_first(actual), expected)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_native_equals_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    window, signed = random_window(rng), int(rng.integers(2))
    x_params, attributes = random_quantization(rng), attributes_of(window, signed, signed)
    attributes |= {"dilation_h": int(rng.integers(1, 3)), "dilation_w": int(rng.integers(1, 3))}
    attributes |= x_params.parameters("x")
    attributes |= random_quantization(rng, like=x_params).parameters("y")
    channels = int(rng.choice([1, 3, 16, 17, 70]))
    x = random_bytes(rng, (*rng.integers(1, 9, 3).tolist(), channels))
    dims = (x.shape[0], *rng.integers(1, 7, 2).tolist(), channels)
    tables = (None, random_bytes(rng, (256,)), random_bytes(rng, (channels, 256)))
    table = tables[rng.integers(3)]
    check_native("AVERAGE_POOL", x, [table], attributes, (dims, np.uint8), rng, True)

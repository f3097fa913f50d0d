"""SOFTMAX: the reference against ONNX Runtime, the native command against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.kernels.reference.softmax import exp_table
from furiosa_ep.partitioner.operators.onnxruntime_version import older_than
from tests.kernels.conv_case import assert_same
from tests.kernels.one_command import check_native
from tests.kernels.qdq_model import QdqModel, Quantization, random_bytes, random_quantization

SCALES = (1 / 256, 1 / 255, 0.01, 1e-3, 1e-6, 1e-20, 0.6, 3.0)
LENGTHS = (1, 2, 3, 16, 17, 91, 300)
PRECISION = 32 if older_than(1, 32) else 64


@pytest.mark.parametrize("seed", range(60))
def test_reference_equals_onnxruntime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_params = random_quantization(rng)
    y_params = Quantization(np.float32(rng.choice(SCALES)), int(rng.choice([0, 3, 128, 255])))
    length = int(rng.choice(LENGTHS))
    x = random_bytes(rng, (5, length, 3))
    expected = QdqModel("Softmax", x_params, y_params, {"axis": 1}).run(x)
    actual = np.zeros((5, 3, length), np.uint8)
    table = exp_table(x_params.scale, length)
    attributes = {"precision": PRECISION, **y_params.parameters("y")}
    REFERENCE["SOFTMAX"]([x.transpose(0, 2, 1), table, None], attributes, actual)
    assert_same(actual.transpose(0, 2, 1), expected, (x_params, y_params, length))


@pytest.mark.parametrize("length", [7, 16, 91])
def test_reference_equals_onnxruntime_near_ties(length: int) -> None:
    rng = np.random.default_rng(length)
    x_params, y_params = Quantization(np.float32(0.07), 120), Quantization(np.float32(1 / 256), 0)
    x = rng.integers(0, 256, (4_000_000 // length, length)).astype(np.uint8)
    expected, actual = QdqModel("Softmax", x_params, y_params).run(x), np.zeros_like(x)
    table = exp_table(x_params.scale, length)
    attributes = {"precision": PRECISION, **y_params.parameters("y")}
    REFERENCE["SOFTMAX"]([x, table, None], attributes, actual)
    assert_same(actual, expected)


def test_flattens_from_the_axis_on_before_opset_13() -> None:
    rng = np.random.default_rng(0)
    x_params, y_params = Quantization(np.float32(0.02), 9), Quantization(np.float32(1 / 256), 0)
    x = random_bytes(rng, (4, 5, 6))
    expected = QdqModel("Softmax", x_params, y_params, {"axis": 1}, opset=12).run(x)
    actual = np.zeros((4, 30), np.uint8)
    table = exp_table(x_params.scale, 30)
    attributes = {"precision": PRECISION, **y_params.parameters("y")}
    REFERENCE["SOFTMAX"]([x.reshape(4, 30), table, None], attributes, actual)
    assert_same(actual.reshape(x.shape), expected)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_native_equals_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, length = np.float32(10 ** rng.uniform(-3, 1)), int(rng.choice(LENGTHS))
    attributes = {
        "precision": (32, 64)[rng.integers(2)],
        "y_scale": float(rng.choice(SCALES)),
        "y_zero_point": int(rng.integers(256)),
    }
    dims = (*rng.choice([1, 2, 5, 16, 19, 40, 64, 65, 130], rng.integers(0, 3)).tolist(), length)
    x, table = random_bytes(rng, dims), (None, random_bytes(rng, (256,)))[rng.integers(2)]
    constants = [exp_table(scale, length), table]
    check_native("SOFTMAX", x, constants, attributes, (dims, np.uint8), rng)


@pytest.mark.parametrize("precision", [32, 64])
@pytest.mark.parametrize("length", [7, 91])
def test_native_equals_reference_near_ties(precision: int, length: int) -> None:
    rng = np.random.default_rng(length)
    dims = (1_000_000 // length, length)
    attributes = {"precision": precision, "y_scale": 1 / 256, "y_zero_point": 0}
    constants = [exp_table(np.float32(0.07), length), None]
    check_native("SOFTMAX", random_bytes(rng, dims), constants, attributes, (dims, np.uint8), rng)

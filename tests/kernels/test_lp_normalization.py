"""LP_NORMALIZATION: the reference against ONNX Runtime, native against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.kernels.reference import REFERENCE
from tests.kernels.conv_case import assert_same
from tests.kernels.one_command import check_native
from tests.kernels.qdq_model import QdqModel, Quantization, random_bytes, random_quantization


def random_result(rng: np.random.Generator, signed: bool = False) -> Quantization:
    params = random_quantization(rng, signed=signed)
    return Quantization(np.float32(rng.uniform(0.002, 0.02)), params.zero_point, signed)


@pytest.mark.parametrize("seed", range(40))
def test_reference_equals_onnxruntime(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signed, p, axis = bool(seed % 3 == 0), int(rng.integers(1, 3)), int(rng.integers(-1, 3))
    x_params, y_params = random_quantization(rng, signed=signed), random_result(rng, signed)
    x = random_bytes(rng, (6, 50, 7))
    x[0] = x_params.stored_zero_point
    expected = QdqModel("LpNormalization", x_params, y_params, {"axis": axis, "p": p}).run(x)
    attributes = {"p": p} | x_params.parameters("x") | y_params.parameters("y")
    actual = np.zeros_like(x)
    view = np.moveaxis(actual, axis, -1)
    REFERENCE["LP_NORMALIZATION"]([np.moveaxis(x, axis, -1)], attributes, view)
    assert_same(actual, expected, (p, axis))


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_native_equals_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_params = random_quantization(rng)
    attributes = {"p": int(rng.integers(1, 3))}
    attributes |= x_params.parameters("x") | random_result(rng).parameters("y")
    dims = (*rng.integers(1, 9, rng.integers(0, 4)).tolist(), int(rng.choice([1, 2, 5, 33, 200])))
    x, dtype = random_bytes(rng, dims), (np.uint8, np.float32)[rng.integers(2)]
    if rng.integers(3) == 0:
        x[...] = x_params.stored_zero_point
    check_native("LP_NORMALIZATION", x, [], attributes, (dims, dtype), rng)

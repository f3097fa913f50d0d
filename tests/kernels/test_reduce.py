"""REDUCE: the reference against ONNX Runtime, the native command against the reference."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.kernels.reference.reduce import L2, MAX, MEAN, SUM, reduction_order
from tests.kernels.conv_case import assert_same
from tests.kernels.one_command import check_native
from tests.kernels.qdq_model import QdqModel, Quantization, random_bytes, random_quantization

OPERATORS = {MEAN: "ReduceMean", SUM: "ReduceSum", MAX: "ReduceMax", L2: "ReduceL2"}
SHAPES = ((2, 16, 7, 9), (1, 11, 8, 8), (3, 5, 1, 50), (1, 1, 13, 3), (4, 3, 41, 1), (2, 1, 30, 6))


def scale_for(kind: int, x_params: Quantization, count: int) -> Quantization:
    """The parameters of a result: sums and norms get larger scales, so that they fit."""
    factor = {MEAN: 1, MAX: 1, SUM: count, L2: count**0.5}[kind]
    return Quantization(x_params.scale * np.float32(factor), x_params.zero_point, x_params.signed)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("dims", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_reference_equals_onnxruntime(kind: int, dims: tuple[int, ...], threads: int) -> None:
    rng = np.random.default_rng(kind)
    for count in range(1, 5):
        for axes in combinations(range(4), count):
            signed = bool(rng.integers(2))
            x_params = random_quantization(rng, signed=signed)
            size = int(np.prod([dims[axis] for axis in axes]))
            y_params = scale_for(kind, x_params, size)
            x = random_bytes(rng, dims)
            model = QdqModel(
                OPERATORS[kind], x_params, y_params, {"keepdims": 0}, [np.array(axes)], opset=18
            )
            expected = model.run(x, threads)
            order = reduction_order(dims, axes, kind)
            attributes = {"kind": kind, "count": count, "order": order.order, "inner": order.inner}
            attributes |= x_params.parameters("x") | y_params.parameters("y")
            actual = np.zeros(expected.shape, np.uint8)
            view = x.transpose(order.kept + order.reduced)
            REFERENCE["REDUCE"]([view, None], attributes, actual)
            assert_same(actual, expected, (OPERATORS[kind], dims, axes))


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_native_equals_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 5))
    dims = tuple(rng.choice([1, 2, 3, 7, 9, 16, 20], rank).tolist())
    count = int(rng.integers(1, rank + 1))
    x_params = random_quantization(rng)
    kind, order = int(rng.integers(4)), int(rng.integers(3))
    size = int(np.prod(dims[rank - count :]))
    attributes = {
        "kind": kind,
        "count": count,
        "order": order,
        "inner": int(rng.integers(1, count + 1)) if order == 1 else 0,
    }
    attributes |= x_params.parameters("x") | scale_for(kind, x_params, size).parameters("y")
    x, dtype = random_bytes(rng, dims), (np.uint8, np.float32)[rng.integers(2)]
    table = random_bytes(rng, (256,)) if dtype is np.uint8 and rng.integers(2) else None
    result = (dims[: rank - count], dtype)
    check_native("REDUCE", x, [table], attributes, result, rng)

from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import TYPES
from tests.partitioner.operators.qdq import Qdq, check, declined, declines

Shape = tuple[int, ...]


def product(
    op_type: str,
    a: Shape,
    b: Shape,
    *,
    bias: Shape | None = None,
    axis: int | None = None,
    activations: bool = False,
    quantized: bool = True,
    dtype: type[np.integer[Any]] = np.uint8,
    **attributes: Any,
) -> Qdq:
    q = Qdq(dtype=dtype)
    inputs = [q.x(*a), q.x(*b) if activations else q.weights(b, axis)]
    if bias is not None:
        inputs.append(q.bias(bias, inputs))
    y = q.node(op_type, inputs, **attributes)
    if quantized:
        q.y(y, 0.3)
    else:
        q.output(y, quantized=False)
    return q


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize(
    ("a", "b", "details"),
    [
        ((4, 16), (16, 8), {"bias": (8,)}),
        ((4, 16), (8, 16), {"bias": (8,), "transB": 1, "axis": 0}),
        ((16, 4), (16, 8), {"bias": (1, 8), "transA": 1, "axis": 1}),
        ((4, 16), (16, 8), {"bias": ()}),
        ((4, 16), (16, 8), {"alpha": 0.5}),
        ((4, 16), (16, 8), {"activations": True}),
        ((4, 16), (8, 16), {"activations": True, "transB": 1}),
    ],
)
def test_gemm(
    a: Shape, b: Shape, details: dict[str, Any], quantized: bool, dtype: type[np.integer[Any]]
) -> None:
    check(product("Gemm", a, b, quantized=quantized, dtype=dtype, **details))


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize(
    ("a", "b", "details"),
    [
        ((4, 16), (16, 8), {}),
        ((2, 4, 16), (16, 8), {"axis": 1}),
        ((2, 4, 16), (2, 16, 8), {}),
        ((2, 4, 16), (2, 16, 8), {"activations": True}),
        ((2, 1, 4, 16), (3, 16, 8), {"activations": True}),
        ((16,), (16, 8), {}),
        ((4, 16), (16,), {}),
        ((2, 4, 16), (16,), {"activations": True}),
    ],
)
def test_matmul(a: Shape, b: Shape, details: dict[str, Any], quantized: bool) -> None:
    check(product("MatMul", a, b, quantized=quantized, **details))


@pytest.mark.parametrize("factors", [{"alpha": 0.5}, {"beta": 2.0}])
def test_no_factors_with_a_bias(factors: dict[str, Any]) -> None:
    found = declined(product("Gemm", (4, 16), (16, 8), bias=(8,), **factors))
    assert found.code == DeclineCode.ATTRIBUTE


def test_bias_is_one_row() -> None:
    assert declined(product("Gemm", (4, 16), (16, 8), bias=(4, 8))).code == DeclineCode.SHAPE


def test_bias_needs_constant_weights() -> None:
    q = Qdq()
    inputs = [q.x(4, 16), q.x(16, 8)]
    q.y(q.node("Gemm", [*inputs, q.bias((8,), inputs)]))
    assert declined(q).code == DeclineCode.WEIGHTS_NOT_CONSTANT


def test_scales_lie_along_the_columns_of_a_matrix() -> None:
    for b, axis in (((16, 8), 0), ((2, 16, 8), 2)):
        assert declined(product("MatMul", (4, 16), b, axis=axis)).code == DeclineCode.QUANT_PARAMS


def test_operands_are_quantized() -> None:
    q = Qdq()
    q.y(q.node("MatMul", [q.x(4, 2), q.constant(np.ones((2, 3), np.float32))]))
    assert declined(q).code == DeclineCode.NOT_QUANTIZED


@pytest.mark.parametrize("op_type", ["Gemm", "MatMul"])
def test_result_is_not_quantized_beside_another_use(op_type: str) -> None:
    # ONNX Runtime computes it in float then.
    q = product(op_type, (4, 16), (16, 8))
    q.output(q.nodes[-2].output[0], quantized=False)
    found = declines(q.model())
    assert DeclineCode.NOT_QUANTIZED in [one.code for one in found]

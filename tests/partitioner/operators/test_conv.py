from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.qdq import Qdq, check, declined


def conv(
    x: tuple[int, ...],
    w: tuple[int, ...],
    *,
    axis: int | None = 0,
    weights: type = np.int8,
    zero: int = 0,
    bias: float | None = 1.0,
    dtype: type[np.integer[Any]] = np.uint8,
    **attributes: Any,
) -> Qdq:
    q = Qdq(dtype=dtype)
    inputs = [q.x(*x), q.weights(w, axis, weights, zero)]
    if bias is not None:
        inputs.append(q.bias((w[0],), inputs, bias))
    q.y(q.node("Conv", inputs, **attributes), scale=0.03 * float(np.prod(w[1:])) ** 0.5)
    return q


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((1, 8, 5, 5), (16, 8, 1, 1), {}),
        ((2, 8, 9, 7), (16, 8, 3, 3), {"pads": [1, 1, 1, 1]}),
        (
            (2, 8, 9, 7),
            (16, 8, 3, 3),
            {"pads": [1, 0, 1, 2], "strides": [2, 1], "dilations": [1, 2]},
        ),
        ((2, 8, 9, 7), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
        ((2, 8, 9, 7), (16, 4, 3, 3), {"group": 2}),
        ((2, 8, 9, 7), (16, 8, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((2, 8, 9, 7), (16, 8, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ((2, 8, 9, 7), (16, 8, 4, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
        ((2, 8, 9), (16, 8, 3), {"pads": [1, 1]}),
    ],
)
def test_geometry(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    check(conv(x, w, **attributes))


@pytest.mark.parametrize(("weights", "zero"), [(np.int8, 0), (np.uint8, 100), (np.uint8, 255)])
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("bias", [None, 1.0])
def test_quantization_of_weights(
    weights: type, zero: int, axis: int | None, bias: float | None
) -> None:
    check(conv((1, 8, 6, 6), (16, 8, 3, 3), axis=axis, weights=weights, zero=zero, bias=bias))


def test_int8_is_the_integer_formula_where_onnx_runtime_computes_in_float() -> None:
    check(conv((1, 8, 6, 6), (16, 8, 3, 3), dtype=np.int8), steps=1)


def test_bias_scale_is_that_of_the_products_within_a_percent() -> None:
    check(conv((1, 8, 6, 6), (16, 8, 3, 3), bias=1.009))
    found = declined(conv((1, 8, 6, 6), (16, 8, 3, 3), bias=1.05))
    assert found.code == DeclineCode.QUANT_PARAMS
    assert "scale of the bias" in found.reason


def test_images_of_three_axes_are_declined() -> None:
    found = declined(conv((1, 2, 4, 4, 4), (3, 2, 1, 1, 1)))
    assert found.code == DeclineCode.RANK
    assert "rank of 3 to 4. Found: 'x0' (uint8 [1, 2, 4, 4, 4]) of rank 5" in found.reason


def test_weights_are_constants() -> None:
    q = Qdq()
    q.y(q.node("Conv", [q.x(1, 2, 4, 4), q.x(3, 2, 1, 1)]))
    assert declined(q).code == DeclineCode.WEIGHTS_NOT_CONSTANT


def test_weights_are_quantized() -> None:
    q = Qdq()
    q.y(q.node("Conv", [q.x(1, 2, 4, 4), q.constant(np.ones((3, 2, 1, 1), np.float32))]))
    assert declined(q).code == DeclineCode.NOT_QUANTIZED


def test_weight_scales_lie_along_the_output_channels() -> None:
    found = declined(conv((1, 4, 6, 6), (4, 4, 3, 3), axis=1, bias=None))
    assert (found.code, "axis 1" in found.reason) == (DeclineCode.QUANT_PARAMS, True)


def test_bias_is_int32() -> None:
    q = Qdq()
    bias = q.constant(np.ones(3, np.float32))
    q.y(q.node("Conv", [q.x(1, 2, 4, 4), q.weights((3, 2, 1, 1)), bias]))
    assert declined(q).code == DeclineCode.DTYPE


def test_result_is_quantized_and_of_the_type_of_the_input() -> None:
    q = Qdq()
    q.output(q.node("Conv", [q.x(1, 2, 4, 4), q.weights((3, 2, 1, 1))]), quantized=False)
    assert [one.code for one in [declined(q)]] == [DeclineCode.NOT_QUANTIZED]
    q = Qdq()
    y = q.node("Conv", [q.x(1, 2, 4, 4), q.weights((3, 2, 1, 1))])
    q.dtype = np.int8
    q.y(y)
    assert declined(q).code == DeclineCode.DTYPE


def test_groups_fit_the_channels() -> None:
    assert declined(conv((1, 4, 4, 4), (3, 2, 1, 1), group=2)).code == DeclineCode.SHAPE


@pytest.mark.parametrize(
    "attributes", [{"auto_pad": "SAME"}, {"pads": [0, -1, 0, 0]}], ids=["auto_pad", "pads"]
)
def test_padding_is_known_and_not_negative(attributes: dict[str, Any]) -> None:
    found = declined(conv((1, 2, 4, 4), (3, 2, 1, 1), **attributes))
    assert found.code == DeclineCode.ATTRIBUTE


def test_symbolic_dims_are_claimed() -> None:
    q = Qdq()
    x = q.x(2, 8, 7, 9, declared=("n", 8, "h", "w"))
    q.y(q.node("Conv", [x, q.weights((4, 8, 3, 3))]), scale=0.3)
    check(q)

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import TYPES
from tests.partitioner.operators.qdq import Qdq, check, declined


@pytest.mark.parametrize("dtype", TYPES)
def test_values_enter_and_leave_as_floats(dtype: type) -> None:
    q = Qdq(dtype=dtype)
    special = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.125, 0.375, -0.0]
    q.feeds["f"] = np.concatenate([q.rng.normal(0, 3, 300), special]).astype(np.float32)
    q.shapes["f"] = (308,)
    q.y("f", 0.25)
    q.output(q.x(3, 4), quantized=False)
    check(q)


def test_scales_are_constants_of_one_element() -> None:
    q = Qdq()
    scales = q.constant(np.full(4, 0.1, np.float32))
    zeros = q.constant(np.zeros(4, np.uint8))
    q.output(q.node("DequantizeLinear", [q.raw((2, 4)), scales, zeros], axis=1), quantized=False)
    assert declined(q).code == DeclineCode.QUANT_PARAMS


def test_a_scale_is_positive() -> None:
    q = Qdq()
    q.output(q.x(2, 4, scale=-0.5), quantized=False)
    assert declined(q).code == DeclineCode.QUANT_PARAMS


def test_16_bit_values_are_declined() -> None:
    q = Qdq(opset=21, dtype=np.uint16)
    q.output(q.x(2, 4), quantized=False)
    assert declined(q).code == DeclineCode.DTYPE


def test_constants_stay() -> None:
    q = Qdq()
    q.output(q.weights((2, 4)), quantized=False)
    assert declined(q).code == DeclineCode.WEIGHTS_NOT_CONSTANT


def test_half_precision_is_declined() -> None:
    q = Qdq(opset=19)
    q.feeds["f"], q.shapes["f"] = np.ones(4, np.float16), (4,)
    scale = q.constant(np.float16(0.1))
    q.output(q.node("QuantizeLinear", ["f", scale, q.constant(0, np.uint8)]))
    found = declined(q)
    assert (found.code, "float16" in found.reason) == (DeclineCode.DTYPE, True)

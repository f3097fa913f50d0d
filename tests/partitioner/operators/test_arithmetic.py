from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.operators.arithmetic import swaps_operands
from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import IMAGE, TYPES
from tests.partitioner.operators.qdq import Qdq, check, declined

OPERATORS = ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean")
CHANNELS = (8, 1, 1)


def binary(
    op_type: str,
    a: tuple[int, ...],
    b: tuple[int, ...],
    other: str = "activation",
    *,
    swap: bool = False,
    quantized: bool = True,
    seed: int = 0,
    dtype: type[np.integer[Any]] = np.uint8,
    count: int = 2,
) -> Qdq:
    q = Qdq(seed, dtype=dtype)
    inputs = [q.x(*a, scale=0.05)]
    for _ in range(1, count):
        if other == "activation":
            inputs.append(q.x(*b, scale=0.03))
        elif other == "float":
            inputs.append(q.constant(q.rng.uniform(0.3, 2, b).astype(np.float32)))
        else:
            inputs.append(q.weights(b, dtype=dtype))
    y = q.node(op_type, inputs[::-1] if swap else inputs)
    if quantized:
        q.y(y, 0.07)
    else:
        q.output(y, quantized=False)
    return q


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op_type", OPERATORS)
def test_broadcast_activations(op_type: str, dtype: type[np.integer[Any]]) -> None:
    shapes = [(IMAGE, IMAGE), (IMAGE, CHANNELS), ((2, 8, 5, 1), (2, 1, 1, 5)), ((5, 6), IMAGE)]
    for seed, (a, b) in enumerate(shapes):
        for swap in (False, True):
            check(binary(op_type, a, b, swap=swap, seed=seed, dtype=dtype))


@pytest.mark.parametrize("other", ["float", "constant"])
@pytest.mark.parametrize("op_type", OPERATORS)
def test_constant_operands(op_type: str, other: str) -> None:
    for shape in ((), CHANNELS, (1, 1, 1, 1, 1), (8, 5, 6)):
        for swap in (False, True):
            check(binary(op_type, IMAGE, shape, other, swap=swap))


@pytest.mark.parametrize("op_type", OPERATORS)
def test_float_results(op_type: str) -> None:
    check(binary(op_type, IMAGE, CHANNELS, quantized=False))


@pytest.mark.parametrize("count", [3, 4, 5, 8])
@pytest.mark.parametrize("op_type", ["Min", "Max", "Sum", "Mean"])
def test_many_operands(op_type: str, count: int) -> None:
    check(binary(op_type, IMAGE, CHANNELS, count=count))


@pytest.mark.parametrize(
    ("a", "b", "swaps"),
    [
        ((4, 5), (4, 5), False),
        ((4, 5), (1,), False),
        ((1,), (4, 5), True),
        ((4, 1), (4, 5), True),
        ((1, 5), (4, 5), False),
        ((4, 1, 1), (4, 5, 1), True),
        ((1, 1), (1,), False),
    ],
)
def test_sum_takes_the_operand_first_that_varies_along_the_innermost_axis(
    a: tuple[int, ...], b: tuple[int, ...], swaps: bool
) -> None:
    assert swaps_operands(a, b) == swaps


def test_mixed_types_are_added_in_float() -> None:
    q = Qdq()
    a = q.x(3, 4)
    q.dtype = np.int8
    # A second consumer keeps ONNX Runtime from making this one uint8.
    raw = q.raw((3, 4))
    b = q.dequantize(raw, q.params())
    q.y(q.node("Add", [a, b]))
    check(q)


def test_other_values_in_float_are_declined() -> None:
    q = Qdq()
    q.feeds["f"], q.shapes["f"] = np.ones((3, 4), np.float32), (3, 4)
    q.y(q.node("Add", [q.x(3, 4), "f"]))
    found = declined(q)
    assert (found.code, "'f' (float [3, 4])" in found.reason) == (DeclineCode.NOT_QUANTIZED, True)

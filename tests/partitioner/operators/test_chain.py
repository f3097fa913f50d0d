from collections.abc import Callable

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import IMAGE, TYPES
from tests.partitioner.operators.qdq import Qdq, check, declined

F = np.float32
Build = Callable[[Qdq, str], None]


def uniform(q: Qdq, *shape: int) -> str:
    return q.constant(q.rng.uniform(-1, 1, shape).astype(F))


def silu(q: Qdq, x: str) -> None:
    q.y(q.node("Mul", [x, q.node("Sigmoid", [x])]), 0.03)


def hard_swish(q: Qdq, x: str) -> None:
    three, zero, six = (q.constant(F(v)) for v in (3, 0, 6))
    gate = q.node("Clip", [q.node("Add", [x, three]), zero, six])
    q.y(q.node("Div", [q.node("Mul", [x, gate]), six]), 0.03)


def gelu(q: Qdq, x: str) -> None:
    gate = q.node("Erf", [q.node("Div", [x, q.constant(F(2**0.5))])])
    gate = q.node("Mul", [x, q.node("Add", [gate, q.constant(F(1))])])
    q.y(q.node("Mul", [gate, q.constant(F(0.5))]), 0.03)


def two_results(q: Qdq, x: str) -> None:
    s = q.node("Sigmoid", [x])
    q.y(s, 0.003)
    q.y(q.node("Tanh", [s]), 0.01)


def two_scales(q: Qdq, x: str) -> None:
    s = q.node("Sigmoid", [x])
    q.y(s, 0.003)
    q.y(s, 0.01)


def requantized(q: Qdq, x: str) -> None:
    q.y(x, 0.03)


def per_channel(q: Qdq, x: str) -> None:
    scaled = q.node("Mul", [x, uniform(q, 8, 1, 1)])
    q.y(q.node("Tanh", [q.node("Add", [scaled, uniform(q, 1, 8, 1, 1)])]), 0.01)


def per_column(q: Qdq, x: str) -> None:
    q.y(q.node("Tanh", [q.node("Add", [x, uniform(q, 6)])]), 0.01)


def per_row(q: Qdq, x: str) -> None:
    q.y(q.node("Tanh", [q.node("Add", [x, uniform(q, 5, 1)])]), 0.01)


def per_element(q: Qdq, x: str) -> None:
    q.y(q.node("Relu", [q.node("Add", [x, uniform(q, 8, 5, 6)])]), 0.03)


def more_axes(q: Qdq, x: str) -> None:
    q.y(q.node("Tanh", [q.node("Add", [x, uniform(q, 1, 1, 1, 1, 1)])]), 0.01)


def sum_clipped(q: Qdq, x: str) -> None:
    limits = [q.constant(F(0.5)), q.constant(F(1.5))]
    q.y(q.node("Clip", [q.node("Add", [x, q.x(*IMAGE)]), *limits]), 0.03)


def three_values(q: Qdq, x: str) -> None:
    difference = q.node("Sub", [x, q.x(8, 1, 1)])
    q.y(q.node("Mul", [difference, q.x(2, 1, 1, 1)]), 0.06)


def sum_with_two_scales(q: Qdq, x: str) -> None:
    total = q.node("Add", [x, q.x(*IMAGE)])
    q.y(total, 0.03)
    q.y(total, 0.05)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "build",
    [
        silu,
        hard_swish,
        gelu,
        two_results,
        two_scales,
        requantized,
        per_channel,
        per_column,
        per_row,
        per_element,
        more_axes,
        sum_clipped,
        three_values,
        sum_with_two_scales,
    ],
)
def test_equals_the_cpu_provider(build: Build, dtype: type) -> None:
    q = Qdq(dtype=dtype)
    build(q, q.x(*IMAGE, scale=0.04))
    check(q)


def test_functions_of_several_values_are_arithmetic() -> None:
    q = Qdq()
    q.y(q.node("Tanh", [q.node("Add", [q.x(3, 4), q.x(3, 4)])]))
    found = declined(q)
    assert (found.code, "2 values and Tanh" in found.reason) == (DeclineCode.NO_KERNEL, True)


@pytest.mark.parametrize(("count", "claimed"), [(4, True), (5, False)])
def test_at_most_four_values(count: int, claimed: bool) -> None:
    q = Qdq()
    total = q.x(3, 4)
    for _ in range(count - 1):
        total = q.node("Add", [total, q.x(3, 4)])
    q.y(total)
    if claimed:
        check(q)
    else:
        assert declined(q).code == DeclineCode.NO_KERNEL

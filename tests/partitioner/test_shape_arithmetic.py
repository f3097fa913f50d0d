"""Shape arithmetic: which values are known as soon as the input shapes are."""

from furiosa_ep.compiler import folding
from furiosa_ep.partitioner.shape_arithmetic import (
    FOLDABLE,
    SHAPE_READERS,
    known_at_compile_time,
    shape_values,
)

from .graphs import graph

BODY = """
    sh = Shape(x) i = Constant<value = int64[1] {0}>() n = Gather(sh, i)
    m = Constant<value = int64[1] {-1}>() to = Concat<axis=0>(n, m)
    d = Add(to, v) e = ReduceMax(v) y = Reshape(x, to)
"""


def test_values_follow_from_shapes_through_foldable_operators_only() -> None:
    subject = graph(BODY, "uint8[N,2,4,4] x, int64[2] v", "uint8[N,M] y, int64[2] d, int64[1] e")
    assert shape_values(subject) == {"sh", "n", "to"}
    assert known_at_compile_time(subject, "to")
    assert known_at_compile_time(subject, "m")
    assert not known_at_compile_time(subject, "d")
    assert not known_at_compile_time(subject, "x")


def test_the_shape_of_a_value_that_no_program_can_take_is_unknown() -> None:
    subject = graph("sh = Shape(x) y = Reshape(v, sh)", "double[N,2] x, int64[M] v", "int64[N,2] y")
    assert shape_values(subject) == set()


def test_the_compiler_folds_every_operator_that_counts_as_shape_arithmetic() -> None:
    assert FOLDABLE | SHAPE_READERS <= folding.FOLDABLE

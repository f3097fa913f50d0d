"""Gemm in the form that the NPU takes."""

import numpy as np
import pytest

from furiosa_ep.quantization.optimize.gemm import make_gemm, simplify_gemm
from tests.quantization.optimizing import (
    Array,
    apply,
    attributes_of,
    constant,
    inputs_of,
    normal,
    op_types,
    parse,
    standard,
)


def test_matmul_of_matrices_becomes_gemm() -> None:
    model = parse("(float[N,3] x) => (float[N,4] y) { y = MatMul(x, w) }", w=normal(3, 4))
    assert op_types(apply(make_gemm, model)) == ["Gemm"]


@pytest.mark.parametrize(
    "text",
    [
        "(float[2,2,3] x) => (float[2,2,4] y) { y = MatMul(x, w) }",
        "(float[3] x) => (float[4] y) { y = MatMul(x, w) }",
        "(float[2,3] x, float[3,4] v) => (float[2,4] y) { y = MatMul(x, v) }",
        "(float[5,5,4] x) => (float[5,3,4] y) { y = MatMul(deep, x) }",
        "(int32[2,3] x) => (int32[2,4] y) { y = MatMul(x, i) }",
    ],
)
def test_other_matmuls_stay(text: str) -> None:
    constants = {"w": normal(3, 4), "deep": normal(5, 3, 5), "i": np.ones((3, 4), np.int32)}
    before = standard(parse(text, **constants))
    assert make_gemm(before) is before


@pytest.mark.parametrize(
    ("attributes", "bias", "expected"),
    [
        ("", normal(4), ["Gemm"]),
        ("", normal(1, 4), ["Gemm"]),
        ("", np.float32(2), ["Gemm"]),
        ("", np.ones((1, 1), np.float32), ["Gemm"]),
        ("alpha=0.5, beta=2.0", normal(4), ["Gemm"]),
        ("alpha=0.5, beta=-2.0, transA=1", normal(1, 4), ["Gemm"]),
        ("", normal(2, 4), ["Gemm", "Add"]),
        ("", normal(2, 1), ["Gemm", "Add"]),
        ("alpha=3.0, beta=0.5", normal(2, 1), ["Gemm", "Add"]),
    ],
)
def test_gemm_gets_a_bias_for_each_column(
    attributes: str, bias: Array, expected: list[str]
) -> None:
    shape = "3,2" if "transA" in attributes else "2,3"
    model = parse(
        f"(float[{shape}] x) => (float[2,4] y) {{ y = Gemm<{attributes}>(x, w, b) }}".replace(
            "<>", ""
        ),
        w=normal(3, 4),
        b=bias,
    )
    after = apply(simplify_gemm, model)
    assert op_types(after) == expected
    assert set(attributes_of(after, "Gemm")) <= {"transA"}
    if expected == ["Gemm"]:
        assert constant(after, inputs_of(after, "Gemm")[2]).shape == (4,)


def test_gemm_of_two_values_gets_its_bias_from_an_add() -> None:
    model = parse(
        "(float[2,3] x, float[3,4] w) => (float[2,4] y) { y = Gemm<alpha=0.5>(x, w, b) }",
        b=normal(4),
    )
    after = apply(simplify_gemm, model)
    assert op_types(after) == ["Gemm", "Add"]
    assert attributes_of(after, "Gemm") == {"alpha": 0.5}


def test_a_quantized_gemm_keeps_its_form() -> None:
    model = parse(
        "(float[2,3] x) => (float[2,4] y) { w = DequantizeLinear(q, s) b = DequantizeLinear(c, s) "
        "y = Gemm(x, w, b) }",
        q=np.ones((3, 4), np.int8),
        c=np.ones(4, np.int32),
        s=np.float32(0.5),
    )
    before = standard(model)
    assert simplify_gemm(before) is before

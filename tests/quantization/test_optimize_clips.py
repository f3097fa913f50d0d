"""Min, Max, Relu and Clip that become one."""

import numpy as np
import numpy.typing as npt
import pytest

from furiosa_ep.quantization.optimize.clips import join_clips
from tests.quantization.optimizing import X, apply, op_types, parse, standard

LIMITS: dict[str, npt.ArrayLike] = {
    "zero": np.float32(0),
    "six": np.float32(6),
    "low": np.array([-0.5], np.float32),
    "high": np.float32(0.75),
    "rows": np.zeros((5,), np.float32),
    "deep": np.zeros((1, 1, 1, 1, 1), np.float32),
    "nan": np.float32(np.nan),
}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = Max(x, zero)", ["Relu"]),
        ("y = Max(zero, x)", ["Relu"]),
        ("y = Max(x, low)", ["Clip"]),
        ("y = Min(high, x)", ["Clip"]),
        ("a = Max(x, low) y = Min(a, high)", ["Clip"]),
        ("a = Min(x, high) y = Max(a, low)", ["Clip"]),
        ("a = Relu(x) y = Min(a, six)", ["Clip"]),
        ("a = Relu(x) y = Clip(a, low, high)", ["Clip"]),
        ("a = Clip(x, low) y = Relu(a)", ["Relu"]),
        ("a = Relu(x) y = Relu(a)", ["Relu"]),
        ("a = Clip(x, , high) b = Relu(a) y = Clip(b, low, six)", ["Clip"]),
        ("a = Clip(x, low, zero) y = Relu(a)", ["Clip"]),
        ("a = Clip(x, high, six) y = Clip(a, low, zero)", ["Clip"]),
        ("y = Clip(x, zero, six)", ["Clip"]),
        ("y = Clip(x, six, zero)", ["Clip"]),
        ("y = Max(x, rows)", ["Max"]),
        ("y = Max(x, deep)", ["Max"]),
        ("y = Max(x, x)", ["Max"]),
        ("y = Max(x, zero, low)", ["Max"]),
        ("y = Max(x)", ["Max"]),
        ("a = Relu(x) b = Exp(a) c = Min(a, six) y = Add(b, c)", ["Relu", "Exp", "Clip", "Add"]),
    ],
)
def test_limits_become_one_clip(nodes: str, expected: list[str]) -> None:
    model = parse(f"({X} x) => (float y) {{ {nodes} }}", **LIMITS)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert op_types(apply(join_clips, model)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "(int64[3] x) => (int64[3] y) { y = Max(x, i) }",
        "(float[3] x) => (float[3] y) { y = Max(x, nan) }",
        "(float[3] x, float[3] z) => (float[3] y) { y = Max(x, z) }",
        "(float[3] x, float z) => (float[3] y) { a = Relu(x) y = Clip(a, z) }",
    ],
)
def test_other_limits_stay(text: str) -> None:
    before = standard(parse(text, **LIMITS, i=np.int64(1)))
    assert join_clips(before) is before

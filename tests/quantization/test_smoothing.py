"""Smoothing: equal results, and channels of norms that are more alike."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from furiosa_ep.quantization.accuracy.smoothing import smooth, smoothed_axes
from furiosa_ep.quantization.accuracy.statistics import channel_reaches
from tests.quantization.optimizing import normal, parse, positive, run, standard

Array = npt.NDArray[Any]


def outlying(count: int) -> npt.NDArray[np.float32]:
    """One channel a hundred times as large as most."""
    found = positive(count)
    found[1] *= 100
    return found


NETWORKS = {
    "layer norm": """
        n = LayerNormalization<axis=-1>(x, g, b)
        q = MatMul(n, w0)  k = MatMul(n, w1)  s = Sub(q, k)  t = Tanh(s)
        y = MatMul(t, w2)""",
    "without a bias": """
        n = LayerNormalization(x, g)  t = MatMul(n, w0)  y = Tanh(t)""",
    "decomposed": """
        m = ReduceMean<axes=[-1]>(x)  d = Sub(x, m)  h = Mul(d, d)  v = ReduceMean<axes=[-1]>(h)
        e = Add(v, epsilon)  r = Sqrt(e)  u = Div(d, r)
        o = Mul(g, u)  n = Add(o, b)
        f = Reshape(n, rows)  y = Gemm<transB=1>(f, w0)""",
    "through Relu": """
        n = Mul(x, g)  r = Relu(n)  t = Transpose<perm=[0,2,1]>(r)  c = Conv(t, w3)
        y = Tanh(c)""",
    "images": """
        t = Transpose<perm=[0,2,1]>(x)
        i = InstanceNormalization(t, g, b)  c = Conv(i, w3)
        a = Tanh(c)  n = BatchNormalization(a, g, b, b, g)  y = Conv<group=8>(n, w4)""",
}
CONSTANTS: dict[str, Array] = {
    "g": outlying(8),
    "b": normal(8),
    "w0": normal(8, 8),
    "w1": normal(8, 8, seed=1),
    "w2": normal(8, 8, seed=2),
    "w3": normal(8, 8, 1),
    "w4": normal(8, 1, 1),
    "epsilon": np.array(1e-5),
    "rows": np.array([-1, 8]),
}


def model_of(body: str) -> onnx.ModelProto:
    used = {name: one for name, one in CONSTANTS.items() if name in body}
    rank = 2 if "Gemm" in body else 3
    dims = ",".join("NCL"[:rank])
    return standard(parse(f"(float[2,5,8] x) => (float[{dims}] y) {{ {body} }}", 17, **used))


def feeds() -> list[dict[str, Array]]:
    return [{"x": normal(2, 5, 8, seed=seed)} for seed in range(4)]


def smoothed(model: onnx.ModelProto, strength: float = 0.5) -> onnx.ModelProto:
    data = model.SerializeToString(deterministic=True)
    after = smooth(model, channel_reaches(model, smoothed_axes(model), feeds()), strength)
    assert model.SerializeToString(deterministic=True) == data, "the given model has changed"
    onnx.checker.check_model(after, full_check=True)
    for feed in feeds():
        np.testing.assert_array_equal(run(model, feed)[0], run(after, feed)[0])
    return after


def spread(model: onnx.ModelProto) -> dict[str, float]:
    reaches = channel_reaches(model, smoothed_axes(model), feeds())
    return {name: float(one.max() / np.median(one)) for name, one in reaches.items()}


@pytest.mark.parametrize("case", NETWORKS)
def test_outlying_channels_stand_out_less(case: str) -> None:
    before = model_of(NETWORKS[case])
    after = smoothed(before)
    value = {"through Relu": "r", "images": "i"}.get(case, "n")
    assert value in smoothed_axes(before)
    assert spread(after)[value] < spread(before)[value] / 3
    if case == "images":
        assert spread(after)["n"] < 4 < spread(before)["n"] / 3, "depthwise weights lose nothing"


def test_strength() -> None:
    before = model_of(NETWORKS["layer norm"])
    assert smooth(before, {}) is before
    assert smoothed(before, 0) is before
    some, more, most = (spread(smoothed(before, one))["n"] for one in (0.01, 0.5, 1.0))
    assert spread(before)["n"] > some > more >= most
    assert most < 4


@pytest.mark.parametrize(
    "body",
    [
        "n = LayerNormalization(x, g, b)  y = Tanh(n)",
        "n = LayerNormalization(x, g, b)  m = MatMul(n, w0)  y = Add(n, m)",
        "n = LayerNormalization<axis=1>(x, wide)  y = MatMul(n, w0)",
        "n = LayerNormalization(x, w)  y = MatMul(n, w0)",
        "n = Mul(x, one)  y = MatMul(n, w0)",
        "n = Mul(x, wide)  y = MatMul(n, w0)",
        "t = MatMul(x, w0)  y = MatMul(t, w1)",
    ],
)
def test_what_is_left_alone(body: str) -> None:
    constants = {**CONSTANTS, "wide": normal(5, 8), "one": np.array([3.0])}
    used = {name: one for name, one in constants.items() if name in body}
    text = f"(float[2,5,8] x, float[8] w) => (float[N,C,L] y) {{ {body} }}"
    model = standard(parse(text, 17, **used))
    assert smoothed_axes(model) == {}
    assert smooth(model, {"n": np.arange(8.0)}) is model

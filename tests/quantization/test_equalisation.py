"""Cross-layer equalisation: equal results, and channels that are alike."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from furiosa_ep.quantization.accuracy.equalisation import channel_axes, equalize
from furiosa_ep.quantization.accuracy.statistics import channel_reaches
from furiosa_ep.quantization.optimize import optimize
from tests.quantization.optimizing import feed_of, normal, parse, positive, run, standard
from tests.quantization.random_float_models import random_model

Array = npt.NDArray[Any]


def feeds_of(model: onnx.ModelProto, count: int = 4) -> list[dict[str, Array]]:
    first = feed_of(model)
    return [
        {name: normal(*array.shape, seed=seed) for name, array in first.items()}
        for seed in range(count)
    ]


def equalized(model: onnx.ModelProto) -> onnx.ModelProto:
    """What `equalize` makes of a model, with all checked that it promises."""
    before = optimize(model)
    data = before.SerializeToString(deterministic=True)
    feeds = feeds_of(before)
    reaches = channel_reaches(before, channel_axes(before), feeds)
    after = equalize(before, reaches)
    assert before.SerializeToString(deterministic=True) == data, "the given model has changed"
    onnx.checker.check_model(after, full_check=True)
    for feed in feeds:
        for first, second in zip(run(before, feed), run(after, feed), strict=True):
            np.testing.assert_array_equal(first, second)
    raised = channel_reaches(after, channel_axes(before), feeds)
    for name, old in reaches.items():
        assert raised[name].max() == old.max(), f"the range of {name} has changed"
        assert (raised[name] >= old).all()
    return after


def spread(model: onnx.ModelProto) -> dict[str, float]:
    """How many times the largest channel of each value is as large as the smallest."""
    reaches = channel_reaches(model, channel_axes(model), feeds_of(model))
    return {name: float(one.max() / one[one > 0].min()) for name, one in reaches.items()}


def uneven(*shape: int, axis: int = 0, seed: int = 0) -> npt.NDArray[np.float32]:
    """Weights whose channels are up to a thousand times apart."""
    factors = 10 ** np.random.default_rng(seed).uniform(-1.5, 1.5, shape[axis])
    dims = [1] * len(shape)
    dims[axis] = -1
    return normal(*shape, seed=seed) * factors.reshape(dims).astype(np.float32)


DEPTHWISE = """(float[1,3,12,12] x) => (float[1,4,12,12] y) {
    a = Conv(x, w0, b0)
    r = Relu(a)
    d = Conv<group=8, pads=[1,1,1,1]>(r, w1, b1)
    s = Relu(d)
    y = Conv(s, w2)
}"""
DEPTHWISE_WEIGHTS = {
    "w0": uneven(8, 3, 1, 1),
    "b0": normal(8),
    "w1": uneven(8, 1, 3, 3, seed=1),
    "b1": normal(8),
    "w2": normal(4, 8, 1, 1),
}


def test_depthwise_channels_become_alike() -> None:
    before = optimize(parse(DEPTHWISE, **DEPTHWISE_WEIGHTS))
    assert spread(before)["r"] > 100
    after = equalized(before)
    found = spread(after)
    assert found["r"] <= 4, "only the depthwise layer reads it"
    assert found["s"] < np.sqrt(spread(before)["s"]) * 2.1


def test_noise_of_values_and_of_weights_are_balanced() -> None:
    model = parse(
        "(float[1,2,3,3] x) => (float[1,1,3,3] y) { a = Conv(x, w) y = Conv(a, v) }",
        w=np.array([1, 64], np.float32).reshape(2, 1, 1, 1) * np.ones((2, 2, 1, 1), np.float32),
        v=np.ones((1, 2, 1, 1), np.float32),
    )
    after = equalize(standard(model), {"a": np.array([1.0, 64.0])})
    weights = {one.name: numpy_helper.to_array(one) for one in after.graph.initializer}
    assert weights["w"][1, 0, 0, 0] / weights["w"][0, 0, 0, 0] == 64 / 8
    assert weights["v"][0, 1, 0, 0] / weights["v"][0, 0, 0, 0] == 8


BRANCHES = {
    "residual": """(float[1,3,8,8] x) => (float[1,5] y) {
        a = Conv(x, w0)  r = Relu(a)
        c = Conv<group=8, pads=[1,1,1,1]>(r, w1)
        s = Add(c, r)  p = MaxPool<kernel_shape=[2,2]>(s)
        g = GlobalAveragePool(p)  f = Flatten(g)
        y = Gemm<transB=1>(f, w2)
    }""",
    "concat": """(float[1,3,8,8] x) => (float[1,5,8,8] y) {
        a = Conv(x, w0)  r = LeakyRelu(a)
        l, h = Split<axis=1>(r, halves)
        d = Conv<group=4, pads=[1,1,1,1]>(h, w3)
        j = Concat<axis=1>(d, l)
        y = Conv(j, w4)
    }""",
    "gate": """(float[1,3,8,8] x) => (float[1,5,8,8] y) {
        a = Conv(x, w0)  r = PRelu(a, slope)
        m = ReduceMean<axes=[2,3]>(r)
        e = Conv(m, w5)  i = Relu(e)
        k = Conv(i, w6)  q = Sigmoid(k)
        u = Mul(q, r)
        y = Conv(u, w4)
    }""",
    "shuffle": """(float[1,3,8,8] x) => (float[1,5,8,8] y) {
        a = Conv(x, w0)
        b = Reshape(a, dims0)  t = Transpose<perm=[0,2,1,3,4]>(b)  c = Reshape(t, dims1)
        d = Conv<group=8, pads=[1,1,1,1]>(c, w1)
        n = Neg(d)  z = Sub(shift, n)
        y = Conv(z, w4)
    }""",
    "resize": """(float[1,3,8,8] x) => (float[1,5,20,20] y) {
        a = Conv(x, w0)
        d = Conv<group=8, pads=[1,1,1,1]>(a, w1)
        v = Resize<mode="linear">(d, none, factors)
        p = Pad(v, pads)
        y = Conv(p, w4)
    }""",
    "pixels": """(float[1,3,8,8] x) => (float[1,5,16,16] y) {
        a = Conv(x, w0)
        d = DepthToSpace<blocksize=2, mode="MODE">(a)
        y = Conv(d, w7)
    }""",
}
CONSTANTS: dict[str, Array] = {
    "w0": uneven(8, 3, 1, 1),
    "w1": uneven(8, 1, 3, 3, seed=1),
    "w2": normal(5, 8),
    "w3": uneven(4, 1, 3, 3, seed=2),
    "w4": normal(5, 8, 1, 1),
    "w5": normal(2, 8, 1, 1),
    "w6": normal(8, 2, 1, 1),
    "w7": normal(5, 2, 1, 1),
    "halves": np.array([4, 4]),
    "slope": positive(8, 1, 1),
    "dims0": np.array([1, 2, 4, 8, 8]),
    "dims1": np.array([1, 8, 8, 8]),
    "shift": normal(8, 1, 1),
    "none": np.array([], np.float32),
    "factors": np.array([1, 1, 2, 2], np.float32),
    "pads": np.array([0, 0, 2, 2, 0, 0, 2, 2]),
}


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("case", BRANCHES)
def test_through_branches(case: str, mode: str) -> None:
    text = BRANCHES[case].replace("MODE", mode)
    constants = {name: one for name, one in CONSTANTS.items() if name in text}
    before = optimize(parse(text, 17, **constants))
    after = equalized(before)
    first, second = spread(before), spread(after)
    value = {"gate": "r", "pixels": "d"}.get(case, "a" if "a" in first else "r")
    # Channels that blocks of pixels join stay as far apart as they are within a block.
    assert second[value] <= (max(first[value] / 2, 2) if case == "pixels" else first[value] / 4)


FIXED = {
    "two readers of the weights": "a = Conv(x, w)  b = Conv(a, w)  y = Conv(b, w)",
    "an output": "a = Conv(x, w)  y = Relu(a)",
    "not homogeneous": "a = Conv(x, w)  b = HardSwish(a)  y = Conv(b, v)",
    "a clip at one": "a = Conv(x, w)  b = Clip(a, high, six)  y = Conv(b, v)",
    "a clip on both sides": "a = Conv(x, w)  b = Clip(a, minus, high)  y = Conv(b, v)",
    "pads with ones": "a = Conv(x, w)  b = Pad(a, pads, high)  y = Conv(b, v)",
    "its own gate": "a = Conv(x, w)  b = Sigmoid(a)  c = Mul(a, b)  y = Conv(c, v)",
    "a product": "a = Conv(x, w)  b = Relu(a)  c = Mul(a, b)  y = Conv(c, v)",
    "a quotient": "a = Conv(x, w)  b = Div(high, a)  y = Conv(b, v)",
    "another's scale": "a = Conv(x, w)  b = Add(a, x)  y = Conv(b, v)",
    "weights computed": "a = Conv(x, w)  b = Conv(a, k)  y = Relu(b)",
    "greater than one": "a = Conv(x, w)  b = Max(a, p)  y = Conv(b, v)",
}


@pytest.mark.parametrize("case", FIXED)
def test_what_fixes_channels(case: str) -> None:
    model = parse(
        f"(float[1,4,5,5] x, float[4,4,1,1] k) => (float[1,4,N,M] y) {{ {FIXED[case]} }}",
        w=uneven(4, 4, 1, 1),
        v=normal(4, 4, 1, 1),
        low=np.array(0, np.float32),
        high=np.array(1, np.float32),
        six=np.array(6, np.float32),
        minus=np.array(-1, np.float32),
        p=positive(4, 1, 1),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    )
    model = standard(model)
    assert channel_axes(model) == {}
    assert equalize(model, {"a": np.array([1.0, 2, 3, 1000])}) is model


@pytest.mark.parametrize(
    ("middle", "weight"),
    [
        ("Conv<group=2>", (6, 4, 1, 1)),
        ("ConvTranspose", (8, 6, 2, 2)),
        ("ConvTranspose<group=2>", (8, 3, 2, 2)),
        ("ConvTranspose<group=8>", (8, 1, 2, 2)),
        ("Conv<strides=[2,2], dilations=[2,2], pads=[2,1,2,3]>", (6, 8, 3, 3)),
    ],
)
def test_layers_of_every_form(middle: str, weight: tuple[int, ...]) -> None:
    group = int(middle.partition("group=")[2][:1] or 1)
    outputs = weight[1] * group if "Transpose" in middle else weight[0]
    model = parse(
        f"(float[1,3,8,8] x) => (float[1,5,N,M] y) {{ a = Conv(x, w0, b0) "
        f"b = {middle}(a, w, b1) y = Conv(b, w1) }}",
        w0=uneven(8, 3, 1, 1),
        b0=normal(8),
        w=normal(*weight),
        b1=normal(outputs),
        w1=normal(5, outputs, 1, 1),
    )
    before, after = optimize(model), equalized(model)
    assert spread(after)["a"] < spread(before)["a"] / 4


RELU6 = DEPTHWISE.replace("Relu(a)", "Clip(a, low, high)").replace("Relu(d)", "Clip(d, low, high)")
LIMITS = {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}


def test_channels_below_a_limit() -> None:
    before = optimize(parse(RELU6, **DEPTHWISE_WEIGHTS, **LIMITS))
    assert max(len(np.unique(run(before, one)[0])) for one in feeds_of(before)) > 100
    after = equalized(before)
    assert spread(after)["r"] < 4 < spread(before)["r"] / 2


def test_a_limit_that_is_not_measured_fixes_channels() -> None:
    before = optimize(parse(RELU6, **DEPTHWISE_WEIGHTS, **LIMITS))
    assert equalize(before, {}) is before


def test_rows_of_matrices() -> None:
    model = parse(
        """(float[2,7,6] x) => (float[2,7,5] y) {
            a = MatMul(x, w0)  b = Add(a, b0)  r = Relu(b)  y = MatMul(r, w1)
        }""",
        w0=uneven(6, 8, axis=1),
        b0=normal(8),
        w1=normal(8, 5),
    )
    before, after = optimize(model), equalized(model)
    assert channel_axes(before)["r"] == 2
    assert spread(after)["r"] < spread(before)["r"] / 4


def test_dead_channels_stay() -> None:
    weights = {name: one.copy() for name, one in DEPTHWISE_WEIGHTS.items()}
    weights["w0"][2] = weights["b0"][2] = 0
    weights["w1"][3] = 0
    weights["w2"][:, 5] = 0
    after = equalized(parse(DEPTHWISE, **weights))
    assert all(np.isfinite(numpy_helper.to_array(one)).all() for one in after.graph.initializer)


@pytest.mark.parametrize("seed", range(40))
def test_random_models(seed: int) -> None:
    equalized(random_model(seed, 14))

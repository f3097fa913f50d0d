"""Ranges end where the only function that reads a value does not change any more."""

import numpy as np
import pytest

from furiosa_ep.quantization import Preset, quantize_model
from furiosa_ep.quantization.accuracy.saturation import saturating_units, saturation_limits
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.units import find_scheme
from tests.quantization.optimizing import Array, normal, parse, run, standard

IMAGE = "float[1,4,8,8]"
WIDE = Range(-50.0, 40.0)


def scheme_of(nodes: str, outputs: str = f"{IMAGE} y", **constants: Array) -> Scheme:
    body = f"({IMAGE} x) => ({outputs}) {{ v = Conv(x, w) {nodes} }}"
    return find_scheme(standard(parse(body, w=normal(4, 4, 1, 1), **constants)))


def limits(nodes: str, found: Range = WIDE) -> Range:
    return saturation_limits(scheme_of(nodes), {"v": found})["v"]


@pytest.mark.parametrize(
    ("nodes", "low", "high"),
    [
        ("y = Sigmoid(v)", -7.0, 7.0),
        ("y = HardSigmoid(v)", -2.5, 2.5),
        ("s = Sigmoid(v) y = Mul(v, s)", -5.5, 40.0),
        ("y = HardSwish(v)", -3.0, 40.0),
        ("y = Tanh(v)", -3.9, 3.9),
        ("y = LeakyRelu(v)", -50.0, 40.0),
        ("y = Abs(v)", -50.0, 40.0),
    ],
)
def test_a_range_ends_where_a_function_is_flat(nodes: str, low: float, high: float) -> None:
    found = limits(nodes)
    assert found.low == pytest.approx(low, rel=0.25)
    assert found.high == pytest.approx(high, rel=0.25)


def test_what_is_lost_is_less_than_a_step_of_the_result() -> None:
    found = limits("s = Sigmoid(v) y = Mul(v, s)")
    x = np.linspace(-50, 40, 10001)
    silu, clipped = (z / (1 + np.exp(-z)) for z in (x, np.clip(x, *found)))
    assert np.abs(silu - clipped).max() <= 0.26 * np.ptp(silu) / 255


def test_a_function_of_nan_is_left_alone() -> None:
    assert limits("y = Sqrt(v)") == WIDE


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("y = Sigmoid(v) z = Softmax(v)", f"{IMAGE} y, {IMAGE} z"),
        ("y = Sigmoid(v)", f"{IMAGE} y, {IMAGE} v"),
        ("y = Add(v, x)", f"{IMAGE} y"),
        ("y = PRelu(v, p)", f"{IMAGE} y"),
        ("y = Relu(v)", f"{IMAGE} y"),
    ],
)
def test_what_others_read_keeps_its_range(nodes: str, outputs: str) -> None:
    slopes = {"p": normal(4, 1, 1)} if "PRelu" in nodes else {}
    assert "v" not in saturating_units(scheme_of(nodes, outputs, **slopes))


def test_numbers_far_below_zero_cost_no_steps() -> None:
    model = parse(
        f"({IMAGE} x) => ({IMAGE} y) {{ v = Conv(x, w, b) s = Sigmoid(v) y = Mul(v, s) }}",
        w=normal(4, 4, 1, 1),
        b=np.array([0, 0, 0, -200], np.float32),
    )
    feeds = [normal(1, 4, 8, 8, seed=seed) for seed in range(8)]

    def noise(preset: Preset) -> float:
        quantized = quantize_model(model, feeds, preset)
        pairs = [(run(model, {"x": feed})[0], run(quantized, {"x": feed})[0]) for feed in feeds]
        return float(np.mean([np.square(one - other).mean() for one, other in pairs]))

    plain = Preset(equalize=False, limit_to_functions=False)
    assert noise(Preset(equalize=False)) * 20 < noise(plain)

"""Ranges end where the only function that reads a value does not change any more."""

import math

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
EVERYTHING = Range(-math.inf, math.inf)


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
        ("s = Sigmoid(v) y = Mul(v, s)", -5.5, math.inf),
        ("y = HardSwish(v)", -3.0, math.inf),
        ("y = Tanh(v)", -3.9, 3.9),
        ("y = LeakyRelu(v)", -math.inf, math.inf),
        ("y = Abs(v)", -math.inf, math.inf),
    ],
)
def test_a_range_ends_where_a_function_is_flat(nodes: str, low: float, high: float) -> None:
    found = limits(nodes)
    assert found.low == pytest.approx(low, rel=0.25)
    assert found.high == pytest.approx(high, rel=0.25)


def test_a_range_is_as_wide_as_its_widest_channel_needs() -> None:
    factors = np.array([1, 2, 0.5, 1], np.float32).reshape(4, 1, 1)
    scheme = scheme_of("p = Mul(v, k) y = Sigmoid(p)", k=factors)
    found = saturation_limits(scheme, {"v": WIDE})["v"]
    assert (found.low, found.high) == pytest.approx((-14.0, 14.0), rel=0.25)


def test_what_few_samples_do_not_reach_is_not_cut_off() -> None:
    model = parse(
        f"({IMAGE} x) => ({IMAGE} y) {{ v = Conv(x, w) y = HardSwish(v) }}", w=normal(4, 4, 1, 1)
    )
    feeds = [normal(1, 4, 8, 8, seed=seed) for seed in range(20)] + [normal(1, 4, 8, 8) * 9]
    quantized = quantize_model(model, feeds, Preset("uint8", calibration="extremes"))
    expected, found = (run(one, {"x": feeds[-1]})[0] for one in (model, quantized))
    assert np.abs(expected - found).max() < 0.05 * expected.max()


def test_what_is_lost_is_less_than_a_step_of_the_result() -> None:
    found = limits("s = Sigmoid(v) y = Mul(v, s)")
    x = np.linspace(-50, 40, 10001)
    silu, clipped = (z / (1 + np.exp(-z)) for z in (x, np.clip(x, *found)))
    assert np.abs(silu - clipped).max() <= 0.26 * np.ptp(silu) / 255


def test_a_function_of_nan_is_left_alone() -> None:
    assert limits("y = Sqrt(v)") == EVERYTHING


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("y = Sigmoid(v) z = Softmax(v)", f"{IMAGE} y, {IMAGE} z"),
        ("y = Sigmoid(v)", f"{IMAGE} y, {IMAGE} v"),
        ("y = Add(v, x)", f"{IMAGE} y"),
        ("p = Mul(v, k) y = Sigmoid(p)", f"{IMAGE} y"),
        ("y = Relu(v)", f"{IMAGE} y"),
    ],
)
def test_what_others_read_keeps_its_range(nodes: str, outputs: str) -> None:
    factors = {"k": normal(4, 8, 1)} if "k" in nodes else {}
    assert "v" not in saturating_units(scheme_of(nodes, outputs, **factors))


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

"""Equalisation through functions that are not homogeneous, by constants for each channel."""

import json
from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import furiosa_ep
from furiosa_ep.quantization import Preset, quantize_model, quantizer
from furiosa_ep.quantization.accuracy import rescaling
from furiosa_ep.quantization.accuracy.rescaling import equalize_scheme
from furiosa_ep.quantization.accuracy.statistics import channel_reaches, expected_reaches
from furiosa_ep.quantization.scheme import Scheme, Unit
from furiosa_ep.quantization.search import Quantization
from furiosa_ep.quantization.units import find_scheme
from tests.quantization.optimizing import Array, normal, parse, run, standard

IMAGE = "float[1,4,8,8]"
FAR = np.array([0.5, 1, 2, 60, 1, 1.5, 2, 0.7], np.float32)
CONSTANTS: dict[str, Array] = {
    "w0": normal(8, 4, 1, 1) * FAR.reshape(-1, 1, 1, 1),
    "b0": normal(8) * FAR,
    "w1": normal(4, 8, 1, 1) / FAR.reshape(1, -1, 1, 1),
    "slope": np.linspace(0.1, 0.8, 8).reshape(8, 1, 1),
    "three": np.array(3, np.float32),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
    "root": np.array(2**0.5, np.float32),
}
FUNCTIONS = {
    "SiLU": "s = Sigmoid(v) a = Mul(v, s)",
    "HardSwish": "a = HardSwish(v)",
    "HardSwish of parts": "t = Add(v, three) c = Clip(t, zero, six) m = Mul(v, c) a = Div(m, six)",
    "Mish": "p = Softplus(v) t = Tanh(p) a = Mul(v, t)",
    "Elu": "a = Elu(v)",
    "Gelu": "d = Div(v, root) e = Erf(d) t = Add(e, one) m = Mul(v, t) a = Mul(m, half)",
    "PRelu": "p = PRelu(v, slope) t = Tanh(p) a = Mul(p, t)",
}
FEEDS: list[dict[str, Array]] = [{"x": normal(1, 4, 8, 8, seed=seed)} for seed in range(6)]


def model_of(
    function: str,
    behind: str = "y = Conv(a, w1)",
    outputs: str = f"{IMAGE} y",
    /,
    **constants: Array,
) -> onnx.ModelProto:
    nodes = f"v = Conv(x, w0, b0) {function} {behind}"
    every = {
        name: array
        for name, array in {**CONSTANTS, **constants}.items()
        if f"{name})" in nodes or f"{name}," in nodes
    }
    return standard(parse(f"({IMAGE} x) => ({outputs}) {{ {nodes} }}", **every))


def equalized(model: onnx.ModelProto) -> Scheme:
    """What becomes of the scheme of a model, which computes the same."""
    before = find_scheme(model)
    after = equalize_scheme(before, partial(channel_reaches, samples=FEEDS))
    onnx.checker.check_model(after.model, full_check=True)
    for feed in FEEDS:
        for one, other in zip(run(model, feed), run(after.model, feed), strict=True):
            np.testing.assert_array_equal(one, other)
    assert after.values == before.values
    assert len(after.units) == len(before.units)
    return after


def added(scheme: Scheme) -> dict[str, Array]:
    """The constants that were added."""
    return {
        name: numpy_helper.to_array(one)
        for name, one in scheme.constants.items()
        if "_factors" in name
    }


def assert_equal_on_both_providers(model: onnx.ModelProto, feed: dict[str, Array]) -> None:
    furiosa_ep.register()
    found = []
    for providers in ["CPUExecutionProvider"], ["FuriosaProvider", "CPUExecutionProvider"]:
        session = ort.InferenceSession(model.SerializeToString(), providers=providers)
        found.append(session.run(None, feed))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def spread(model: onnx.ModelProto, name: str) -> float:
    """How many times the channel that reaches farthest does so as the median one."""
    found = channel_reaches(model, {name: 1}, FEEDS)[name]
    return float(found.max() / np.median(found))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_channels_become_alike_on_both_sides(name: str) -> None:
    model = model_of(FUNCTIONS[name])
    after = equalized(model)
    assert {*added(after)} == {"v_factors", "a_factors"}
    for value in "v", "a":
        assert spread(model, value) > 10
        assert spread(after.model, value) < 5
    (unit,) = (unit for unit in after.units if unit.reads == ("v",))
    assert unit.writes == ("a",)
    assert len(unit.nodes) == len(find_scheme(model).units[1].nodes) + 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_partition_takes_it_and_bits_are_equal(name: str) -> None:
    quantized = quantize_model(model_of(FUNCTIONS[name]), FEEDS)
    assert any("_factors" in one.name for one in quantized.graph.initializer)
    report = furiosa_ep.explain(quantized)
    assert len(report.partitions) == 1
    assert all(row.partition is not None for row in report.rows)
    assert_equal_on_both_providers(quantized, FEEDS[0])


def test_noise_drops_by_a_large_factor() -> None:
    model = model_of(FUNCTIONS["SiLU"])

    def noise(preset: Preset) -> float:
        quantized = quantize_model(model, FEEDS, preset)
        pairs = [(run(model, feed)[0], run(quantized, feed)[0]) for feed in FEEDS]
        return float(np.mean([np.square(one - other).mean() for one, other in pairs]))

    assert noise(Preset()) * 4 < noise(Preset(equalize=False))


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (Preset(), rescaling.ADAPTED_STRENGTH),
        (Preset(per_channel=False), 0.5),
        (Preset(adapt_rounding=False), 0.5),
        (Preset(correct_bias=False), 0.5),
    ],
)
def test_weights_count_less_where_they_lose_less(
    preset: Preset, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def recorded(scheme: Scheme, _: object, strength: float) -> Scheme:
        found.append(strength)
        return scheme

    monkeypatch.setattr(quantizer, "equalize_scheme", recorded)
    quantize_model(model_of(FUNCTIONS["SiLU"]), FEEDS, preset)
    assert found == [expected]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_added_where_channels_are_alike(name: str) -> None:
    alike = {"w0": normal(8, 4, 1, 1), "b0": normal(8), "w1": normal(4, 8, 1, 1)}
    after = equalized(model_of(FUNCTIONS[name], **alike))
    assert not added(after)


def test_gates_stay_and_factors_pass_them() -> None:
    model = model_of(
        FUNCTIONS["SiLU"],
        "g = GlobalAveragePool(a) h = Conv(g, w2) q = HardSigmoid(h) u = Mul(a, q) y = Conv(u, w1)",
        w2=normal(8, 8, 1, 1) / FAR.reshape(1, -1, 1, 1),
    )
    after = equalized(model)
    assert {*added(after)} == {"v_factors", "a_factors"}
    assert spread(after.model, "u") * 2 < spread(model, "u")


def test_a_product_of_two_functions_scales_one() -> None:
    nodes = "s = Sigmoid(v) a = Mul(v, s) o = Conv(x, w2) b = Elu(o) c = Mul(a, b) y = Conv(c, w1)"
    model = model_of(nodes, "", w2=normal(8, 4, 1, 1) * FAR.reshape(-1, 1, 1, 1))
    after = equalized(model)
    assert "a_factors" in added(after)
    assert "b_factors" not in added(after)


@pytest.mark.parametrize(
    ("function", "behind", "outputs", "expected"),
    [
        ("a = Elu(v)", "y = Conv(a, w1)", f"{IMAGE} y, float[1,8,8,8] v", {"a_factors"}),
        ("a = Elu(v)", "y = Conv(a, w1)", f"{IMAGE} y, float[1,8,8,8] a", {"v_factors"}),
        ("a = Elu(v)", "y = Conv(a, w1) z = Softmax(a)", f"{IMAGE} y, float[1,8,8,8] z",
         {"v_factors"}),
        ("a = Elu(v) b = Tanh(v)", "c = Mul(a, b) y = Conv(c, w1)", f"{IMAGE} y",
         {"v_factors", "c_factors"}),
        ("a = Elu(v)", "b = Tanh(v) y = Conv(a, w1) z = Conv(b, w1)", f"{IMAGE} y, {IMAGE} z",
         {"v_factors", "v_factors_1", "a_factors"}),
        ("a = Elu(v)", "y = Conv(a, w1) z = Conv(v, w1)", f"{IMAGE} y, {IMAGE} z",
         {"v_factors", "a_factors"}),
    ],
)  # fmt: skip
def test_what_others_read_is_scaled_where_they_can_make_up_for_it(
    function: str, behind: str, outputs: str, expected: set[str]
) -> None:
    constants = {} if "z = Conv" not in behind else {"w2": CONSTANTS["w1"]}
    behind = behind.replace("z = Conv(v, w1)", "z = Conv(v, w2)").replace("(b, w1)", "(b, w2)")
    assert {*added(equalized(model_of(function, behind, outputs, **constants)))} == expected


def test_rows_are_scaled_along_their_last_axis() -> None:
    model = parse(
        "(float[1,5,4] x) => (float[1,5,4] y) { m = MatMul(x, w0) v = Add(m, b0) a = Elu(v) "
        "y = MatMul(a, w1) }",
        w0=normal(4, 8) * FAR,
        b0=normal(8) * FAR,
        w1=normal(8, 4) / FAR[:, None],
    )
    feeds = [{"x": normal(1, 5, 4, seed=seed)} for seed in range(6)]
    quantized = quantize_model(model, feeds)
    factors = {one.name: tuple(one.dims) for one in quantized.graph.initializer}
    assert factors["a_factors"] == (8,)
    assert len(furiosa_ep.explain(quantized).partitions) == 1
    assert_equal_on_both_providers(quantized, feeds[0])


def test_constants_along_another_axis_leave_no_room() -> None:
    shifts = normal(8, 1)
    assert not added(equalized(model_of("t = Add(v, shifts) a = Elu(t)", shifts=shifts)))


def test_what_loses_most_is_found_among_the_nodes_as_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def last(quantization: Quantization, *_: object) -> list[Unit]:
        return [quantization.scheme.units[-1]]

    monkeypatch.setattr(quantizer, "costly_units", last)
    quantized = quantize_model(model_of(FUNCTIONS["SiLU"]), FEEDS, max_loss=1e-9)
    (prop,) = (one for one in quantized.metadata_props if one.key == quantizer.METADATA_KEY)
    assert [*json.loads(prop.value)["in_float"]] == ["Conv of 'y'"]


def test_channels_are_taken_to_reach_farther_the_more_samples_differ() -> None:
    always, mostly, seldom, largest = [1, 1, 1, 1], [1, 1, 2, 1], [0, 0, 0, 1], [64, 64, 32, 64]
    peaks = np.array([always, mostly, seldom, [0, 0, 0, 0], largest], np.float32).T
    assert expected_reaches(peaks).tolist() == [1, 4, 64, 64, 64]
    assert expected_reaches(peaks * np.float32(1e-38)).tolist() == pytest.approx(
        (expected_reaches(peaks) * 1e-38).tolist()
    )


@pytest.mark.parametrize("count", [2, 9])
def test_a_channel_that_few_samples_wake_is_raised_less_than_one_that_is_small_in_all(
    count: int,
) -> None:
    model = standard(
        parse(
            "(float[1,3,4,4] x) => (float[1,3,4,4] y) "
            "{ v = Conv<group=3>(x, w0) r = Relu(v) y = Conv<group=3>(r, w1) }",
            w0=np.ones((3, 1, 1, 1), np.float32),
            w1=np.ones((3, 1, 1, 1), np.float32),
        )
    )
    magnitudes = np.array([[100, 1, 1], *[[100, 1, 0.01]] * count], np.float32)
    feeds = [{"x": np.tile(m.reshape(1, 3, 1, 1), (1, 1, 4, 4))} for m in magnitudes]
    after = equalize_scheme(find_scheme(model), partial(channel_reaches, samples=feeds))
    factors = numpy_helper.to_array(after.constants[after.layers["v"].weight])
    assert factors.ravel().tolist() == [1, 64, 1]

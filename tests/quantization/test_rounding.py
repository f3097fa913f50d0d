"""Integers for the weights of a layer: searched ranges, adaptive rounding, corrected biases."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from furiosa_ep.quantization import QuantizationError, Range
from furiosa_ep.quantization.accuracy.bias_correction import correct_biases, mean_error
from furiosa_ep.quantization.accuracy.layerwise import quantize_layers
from furiosa_ep.quantization.accuracy.patches import patches
from furiosa_ep.quantization.accuracy.rounding import adapt_rounding, error_products
from furiosa_ep.quantization.accuracy.statistics import (
    LayerStatistics,
    layer_statistics,
    quantized,
)
from furiosa_ep.quantization.accuracy.weight_ranges import search_range
from furiosa_ep.quantization.weights import (
    Layer,
    QuantizedWeight,
    layers,
    quantize_weight,
    weights_of,
)
from tests.quantization.optimizing import constant, normal, parse, positive, run, standard
from tests.quantization.test_weights import CASES, every_case, layer_of, model_of

Array = npt.NDArray[Any]

GEOMETRIES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "pads": ("Conv<pads=[2,0,1,3]>", (2, 3, 7, 6), (4, 3, 3, 2)),
    "strides": ("Conv<strides=[3,2], pads=[1,1,1,1]>", (1, 3, 8, 9), (4, 3, 3, 3)),
    "dilations": ("Conv<dilations=[2,3], pads=[2,3,2,3]>", (1, 2, 8, 9), (4, 2, 3, 3)),
    "same upper": ('Conv<auto_pad="SAME_UPPER", strides=[2,2]>', (1, 2, 7, 8), (4, 2, 4, 3)),
    "same lower": ('Conv<auto_pad="SAME_LOWER", strides=[2,2]>', (1, 2, 7, 8), (4, 2, 4, 3)),
    "one axis": ("Conv<strides=[2], pads=[1,2], group=2>", (2, 4, 9), (6, 2, 4)),
    "transposed": ("ConvTranspose<strides=[2,3], pads=[1,0,0,2]>", (2, 3, 4, 5), (3, 4, 3, 4)),
    "transposed dilated": (
        "ConvTranspose<strides=[2,2], dilations=[2,1], output_padding=[1,0], group=2>",
        (1, 4, 4, 3),
        (4, 3, 2, 3),
    ),
    "transposed one axis": ("ConvTranspose<strides=[3]>", (1, 2, 5), (2, 3, 2)),
}


def geometry(case: str) -> tuple[onnx.ModelProto, Layer, dict[str, Array]]:
    node, shape, weight = GEOMETRIES[case]
    dims = ",".join(map(str, shape))
    open_dims = ",".join("NCHW"[: len(shape)])
    model = parse(
        f"(float[{dims}] x) => (float[{open_dims}] y) {{ y = {node}(x, w) }}", w=normal(*weight)
    )
    (layer,) = layers(model)
    return model, layer, {"x": normal(*shape)}


def assert_patches(model: onnx.ModelProto, layer: Layer, x: Array) -> None:
    """Patches times rows are what ONNX Runtime computes."""
    (y,) = run(model, {"x": x})
    weight = weights_of(model, {layer.weight})[layer.weight]
    found = patches(layer, x, 10**6, np.random.default_rng(0))
    outputs = np.einsum("gpd,god->pgo", found, layer.rows(weight)).reshape(found.shape[1], -1)
    by_channel = np.moveaxis(y, 1, -1) if "Conv" in layer.node.op_type else y
    np.testing.assert_allclose(outputs, by_channel.reshape(outputs.shape), atol=1e-5)


@pytest.mark.parametrize("case", GEOMETRIES)
def test_patches_of_every_geometry(case: str) -> None:
    model, layer, feed = geometry(case)
    assert_patches(model, layer, feed["x"])


@pytest.mark.parametrize("case", [case for case in CASES if case != "batched"])
def test_patches_of_every_operator(case: str) -> None:
    assert_patches(model_of(case), layer_of(case), normal(*CASES[case][1]))


def test_patches_are_a_sample_without_repetition() -> None:
    layer, feed = layer_of("conv"), {"x": normal(*CASES["conv"][1])}
    every = patches(layer, feed["x"], 10**6, np.random.default_rng(0))[0]
    some = patches(layer, feed["x"], 20, np.random.default_rng(1))[0]
    assert some.shape == (20, every.shape[1])
    places = [int(np.flatnonzero((every == row).all(1))[0]) for row in some]
    assert len(set(places)) == 20
    other = patches(layer, feed["x"], 20, np.random.default_rng(2))[0]
    assert not np.array_equal(some, other)


def gather(
    model: onnx.ModelProto, feeds: list[dict[str, Array]], **options: Any
) -> dict[str, LayerStatistics]:
    return {
        layer.output: one for layer, one in layer_statistics(model, layers(model), feeds, **options)
    }


def test_statistics_are_means_over_positions() -> None:
    model, layer, _ = geometry("pads")
    feeds = [{"x": normal(2, 3, 7, 6, seed=seed) + 0.5} for seed in range(5)]
    limits = Range(-1.0, 1.0)
    seen = gather(model, feeds[:], ranges={"x": limits})["y"]
    every = np.concatenate(
        [patches(layer, one["x"], 10**6, np.random.default_rng(0))[0] for one in feeds]
    )
    np.testing.assert_allclose(seen.mean[0], every.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen.square[0], (every**2).mean(0), rtol=1e-5)
    assert seen.product is not None
    np.testing.assert_allclose(seen.product[0], every.T @ every / len(every), rtol=1e-3, atol=1e-5)
    changed = (quantized(every, limits) - every).mean(0)
    np.testing.assert_allclose(seen.shift[0], changed, rtol=1e-4, atol=1e-6)
    assert seen.shift.min() < -0.01, "clipping lowers the mean"
    np.testing.assert_allclose(seen.noise, (2 / 255) ** 2 / 12)
    limited = gather(model, feeds, limit=2, positions=7)["y"]
    assert not np.allclose(limited.mean, seen.mean)


def test_layers_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = parse(
        """(float[1,3,6,6] x) => (float[1,4,6,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, w0)  b = Conv(a, w1)  c = Conv(b, w2)  y = Conv(c, w1)
        }""",
        w0=normal(4, 3, 3, 3),
        w1=normal(4, 4, 1, 1),
        w2=normal(4, 4, 1, 1, seed=1),
    )
    feeds = [{"x": normal(1, 3, 6, 6, seed=seed)} for seed in range(3)]
    whole = gather(model, feeds)
    assert list(whole) == ["a", "c"], "b and y share their weights"
    monkeypatch.setattr("furiosa_ep.quantization.accuracy.statistics._AT_A_TIME", 1)
    parts = gather(model, feeds)
    assert list(parts) == ["a", "c"]
    for name, one in whole.items():
        np.testing.assert_array_equal(one.product, parts[name].product)
    monkeypatch.setattr("furiosa_ep.quantization.accuracy.statistics.MAX_DEPTH", 4)
    assert [one.product is None for one in gather(model, feeds).values()] == [True, False]


def correlated(layer: Layer, seed: int = 0) -> LayerStatistics:
    """Statistics of inputs that go along with each other and have a mean."""
    depth = layer.rows(np.empty(layer.dims)).shape[2]
    mix = normal(layer.groups, depth, depth, seed=seed)
    x = normal(layer.groups, 400, max(1, depth // 2), seed=seed + 1) @ mix[:, : max(1, depth // 2)]
    x += positive(layer.groups, 1, depth)
    product = x.swapaxes(1, 2) @ x / 400
    return LayerStatistics(
        x.mean(1), (x**2).mean(1), product, np.zeros(x.mean(1).shape), noise=1e-4
    )


def error(
    layer: Layer, weight: Array, found: QuantizedWeight, seen: LayerStatistics, centered: bool
) -> Array:
    e = layer.rows(found.dequantized() - weight).astype(np.float64)
    products = error_products(seen, centered=centered)
    assert products is not None
    by_channel: Array = np.einsum("god,gde,goe->go", e, products, e)
    return by_channel


@pytest.mark.parametrize("centered", [False, True])
@every_case
def test_adapted_weights_lose_less(case: str, centered: bool) -> None:
    layer = layer_of(case)
    weight = normal(*layer.dims)
    seen = correlated(layer)
    nearest = quantize_weight(weight, layer.axis)
    found = adapt_rounding(layer, weight, nearest, seen, centered=centered)
    np.testing.assert_array_equal(found.scale, nearest.scale)
    assert found.integers.dtype == np.int8
    assert found.integers.min() >= -127
    before = error(layer, weight, nearest, seen, centered)
    after = error(layer, weight, found, seen, centered)
    assert (after <= before * (1 + 1e-4)).all(), "no output channel is worse"
    if seen.mean.shape[1] >= 8:
        assert after.sum() < before.sum() / 2


@pytest.mark.parametrize("seed", range(6))
def test_adapted_weights_are_nearly_the_best(seed: int) -> None:
    """Beside all integers within one of the weights, tried one by one."""
    model = parse("(float[1,6] x) => (float[1,1] y) { y = Gemm(x, w) }", w=normal(6, 1, seed=seed))
    (layer,) = layers(model)
    weight = weights_of(model, {"w"})["w"]
    seen = correlated(layer, seed)
    nearest = quantize_weight(weight, layer.axis)
    found = adapt_rounding(layer, weight, nearest, seen, centered=False)
    floor = np.floor(weight[:, 0] / nearest.scale)
    grid = np.stack(np.meshgrid(*[np.arange(-1, 3)] * 6), -1).reshape(-1, 6) + floor
    e = np.clip(grid, -127, 127) * nearest.scale - weight[:, 0]
    products = error_products(seen, centered=False)
    assert products is not None
    best = np.einsum("nd,de,ne->n", e, products[0], e).min()
    assert error(layer, weight, found, seen, False).sum() <= best * 5
    assert error(layer, weight, nearest, seen, False).sum() > best * 3


def test_adaptive_rounding_of_inputs_without_variance() -> None:
    layer = layer_of("conv")
    weight = normal(*layer.dims)
    nearest = quantize_weight(weight, layer.axis)
    zeros = np.zeros((1, 24))
    nothing = LayerStatistics(zeros, zeros, np.zeros((1, 24, 24), np.float32), zeros, 0.0)
    assert adapt_rounding(layer, weight, nearest, nothing) is nearest
    unknown = LayerStatistics(zeros, zeros, None, zeros, 0.0)
    assert adapt_rounding(layer, weight, nearest, unknown) is nearest
    same = np.ones((1, 24, 24), np.float32)  # of rank one
    alike = LayerStatistics(zeros, zeros + 1, same, zeros, 0.0)
    found = adapt_rounding(layer, weight, nearest, alike, centered=False)
    sums = (found.dequantized() - weight).reshape(6, -1).sum(1)
    assert (np.abs(sums) <= nearest.scale * 0.51).all(), "only the sum of errors is seen"


@every_case
def test_searched_ranges_lose_less(case: str) -> None:
    layer = layer_of(case)
    weight = normal(*layer.dims)
    weight.reshape(-1)[0] = 40  # where the others have few steps
    plain, found = quantize_weight(weight, layer.axis), search_range(layer, weight)
    assert (found.scale <= plain.scale * (1 + 1e-6)).all()
    assert np.square(found.dequantized() - weight).sum() <= np.square(
        plain.dequantized() - weight
    ).sum() * (1 + 1e-6)


def test_searched_ranges_know_what_matters() -> None:
    layer = layer_of("gemm")
    weight = normal(*layer.dims)
    weight[0] = 10
    depth = (1, 4)
    seen = LayerStatistics(
        np.zeros(depth), np.array([[1e-6, 1, 1, 1]]), None, np.zeros(depth), noise=0.0
    )
    blind, found = search_range(layer, weight), search_range(layer, weight, seen)
    assert (found.scale < blind.scale * 0.8).all()
    assert (found.integers[0] == 127).all()
    with pytest.raises(QuantizationError, match="NaN"):
        search_range(layer, weight * np.nan)


@every_case
def test_corrected_biases_leave_no_mean_error(case: str) -> None:
    model, layer = standard(model_of(case)), layer_of(case)
    if layer.node.op_type == "MatMul":
        return
    feeds = [{"x": positive(*CASES[case][1], seed=seed)} for seed in range(4)]
    limits = Range(0.0, 1.5)
    (seen,) = gather(model, feeds, ranges={"x": limits}).values()
    weight = weights_of(model, {"w"})["w"]
    coarse = quantize_weight(
        weight,
        layer.axis,
        np.float32(0.4) if layer.axis is None else np.full(layer.output_channels, 0.4),
    )
    errors = mean_error(layer, weight, coarse, seen)
    corrected = correct_biases(model, {"y": errors})
    onnx.checker.check_model(corrected, full_check=True)
    for tensor in corrected.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(numpy_helper.from_array(coarse.dequantized(), "w"))
    axis = 1 if "onv" in CASES[case][0] else -1
    means = []
    for feed in feeds:
        (y,), (now,) = run(model, feed), run(corrected, {"x": quantized(feed["x"], limits)})
        difference = np.moveaxis(now - y, axis, -1)
        means.append(difference.reshape(-1, difference.shape[-1]).mean(0))
    assert np.abs(errors).max() > 0.1
    np.testing.assert_allclose(np.mean(means, 0), 0, atol=1e-4)


def test_corrected_biases_keep_what_others_read() -> None:
    model = parse(
        """(float[2,4] x) => (float[2,4] y) {
            a = Gemm(x, w, b)  c = Gemm(a, v, b)  d = MatMul(c, w)  y = Gemm(d, v)
        }""",
        w=normal(4, 4),
        v=normal(4, 4, seed=1),
        b=normal(4),
    )
    data = model.SerializeToString()
    error = np.arange(4.0)
    after = correct_biases(model, {"a": error, "d": error, "y": error})
    assert model.SerializeToString() == data
    nodes = {node.output[0]: node for node in after.graph.node}
    np.testing.assert_allclose(constant(after, nodes["a"].input[2]), normal(4) - error, rtol=1e-6)
    np.testing.assert_array_equal(constant(after, nodes["c"].input[2]), normal(4))
    assert len(nodes["d"].input) == 2
    np.testing.assert_array_equal(constant(after, nodes["y"].input[2]), -error)
    assert correct_biases(model, {}) is model


NETWORK = """(float[1,3,16,16] x) => (float[1,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0)  r = Relu(a)
    d = Conv<group=16, pads=[1,1,1,1]>(r, w1, b1)  s = Relu(d)
    p = Conv(s, w2, b2)  t = Relu(p)
    g = GlobalAveragePool(t)  f = Flatten(g)
    y = Gemm<transB=1>(f, w3)
}"""


def network() -> onnx.ModelProto:
    return standard(
        parse(
            NETWORK,
            w0=normal(16, 3, 3, 3) ** 3,
            b0=normal(16),
            w1=normal(16, 1, 3, 3),
            b1=normal(16),
            w2=normal(32, 16, 1, 1) ** 5,
            b2=normal(32),
            w3=normal(5, 32) ** 5,
        )
    )


@pytest.mark.parametrize(
    "method",
    [{"search_weights": True}, {"adapt_rounding": True}, {"correct_bias": True}],
    ids=lambda method: next(iter(method)),
)
def test_each_method_on_a_network(method: dict[str, bool]) -> None:
    model = network()
    feeds = [{"x": positive(1, 3, 16, 16, seed=seed)} for seed in range(8)]

    def loss(found: onnx.ModelProto, weights: dict[str, QuantizedWeight]) -> float:
        copy = onnx.ModelProto()
        copy.CopyFrom(found)
        for tensor in copy.graph.initializer:
            if tensor.name in weights:
                array = weights[tensor.name].dequantized()
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        fresh = [{"x": positive(1, 3, 16, 16, seed=seed)} for seed in range(100, 110)]
        return float(np.mean([np.square(run(model, x)[0] - run(copy, x)[0]).mean() for x in fresh]))

    plain = quantize_layers(model, [], {})
    assert plain[0] is model
    assert set(plain[1]) == {"w0", "w1", "w2", "w3"}
    better = quantize_layers(model, feeds, {}, **method)  # type: ignore[arg-type]
    assert loss(*better) < loss(*plain) * (0.95 if "search_weights" in method else 0.7)


def test_scales_leave_room_for_biases() -> None:
    model = network()
    for tensor in model.graph.initializer:
        if tensor.name == "w1":
            tensor.CopyFrom(numpy_helper.from_array(normal(16, 1, 3, 3) * np.float32(1e-12), "w1"))
    ranges = {"r": Range(0.0, 1e-3)}
    feeds = [{"x": positive(1, 3, 16, 16)}]
    for on in (False, True):
        _, weights = quantize_layers(
            model, feeds, ranges, search_weights=on, adapt_rounding=on, correct_bias=on
        )
        steps = np.abs(normal(16)) / (weights["w1"].scale * 1e-3 / 255)
        assert steps.max() <= 2**30 * 1.001


def test_broken_weights_are_named() -> None:
    model = model_of("conv", np.full((6, 4, 3, 2), np.nan, np.float32))
    for search in False, True:
        with pytest.raises(QuantizationError, match=r"'layer' have NaN .* 0, 1, 2, 3, 4, 5"):
            quantize_layers(model, [], {}, search_weights=search)

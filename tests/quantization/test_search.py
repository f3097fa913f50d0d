"""What is measured: the loss of outputs, the best preset, and what has to stay in float."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from furiosa_ep.quantization import ModelEditor, Preset, QuantizationError, TensorType
from furiosa_ep.quantization import quantize_model as quantize
from furiosa_ep.quantization.quantizer import METADATA_KEY
from furiosa_ep.quantization.search import OutputLoss, Part, best_preset
from tests.quantization.optimizing import Array, normal, op_types, parse

BODY = (
    "(float[1,4,8,8] x) => (float[1,4,2,2] y) { a = Conv(x, v) b = Relu(a) c = Conv(b, w) "
    "d = Relu(c) e = Conv(d, v) y = Sigmoid(e) }"
)


def network() -> onnx.ModelProto:
    return parse(BODY, v=normal(4, 4, 3, 3), w=normal(4, 4, 3, 3, seed=1) * np.float32(0.2))


def samples(count: int = 12) -> list[Array]:
    return [normal(1, 4, 8, 8, seed=seed) for seed in range(count)]


def told(model: onnx.ModelProto) -> dict[str, Any]:
    (entry,) = (one.value for one in model.metadata_props if one.key == METADATA_KEY)
    found: dict[str, Any] = json.loads(entry)
    return found


def loss(model: onnx.ModelProto) -> float:
    return OutputLoss(network(), [{"x": sample} for sample in samples()])(model)


def test_the_same_model_loses_nothing_and_another_one_does() -> None:
    other = parse(BODY, v=normal(4, 4, 3, 3), w=normal(4, 4, 3, 3, seed=2))
    assert loss(network()) == 0
    assert loss(other) > 0.01


def test_a_loss_is_relative_to_the_power_of_each_output() -> None:
    text = "(float[4] x) => (float[4] y, float[4] z, int64 k) { %s }"
    nodes = "y = Mul(x, a) z = Mul(x, b) k = ArgMax<keepdims=0>(x)"
    right = parse(text % nodes, a=1.0, b=1000.0)
    wrong = parse(text % nodes.replace("ArgMax", "ArgMin"), a=1.1, b=1000.0)
    found = OutputLoss(right, [{"x": normal(4)}])(wrong)
    assert found == pytest.approx((0.01 + 0 + 1) / 3, rel=1e-3)


def scripted(**losses: float) -> Callable[[Preset], float]:
    def loss(preset: Preset) -> float:
        total = losses.get(str(preset.calibration), 1.0)
        return total + sum(losses.get(name, 0) for name in losses if getattr(preset, name, False))

    return loss


def test_the_best_calibrator_and_the_methods_that_help_are_kept() -> None:
    found, tried = best_preset(
        Preset(search=True), scripted(percentile=0.2, equalize=0.5, correct_bias=-0.1)
    )
    assert found == Preset(calibration="percentile", equalize=False, search=True)
    assert tried[0][0] == "default"
    assert tried[0][1] == pytest.approx(1.4)
    assert dict(tried)["equalize=False"] == pytest.approx(0.1)
    assert len(tried) == 11


def test_the_default_preset_stays_where_nothing_is_clearly_better() -> None:
    found, _ = best_preset(Preset(search=True), scripted(percentile=0.7, equalize=0.1))
    assert found == Preset(search=True)


def test_presets_are_compared_on_samples_that_ranges_do_not_come_from() -> None:
    feeds = [{"x": sample} for sample in samples(10)]
    numbers = [
        [next(n for n, one in enumerate(feeds) if one is feed) for feed in Part(feeds, held_back)]
        for held_back in (True, False)
    ]
    assert numbers == [[1, 5, 9], [0, 2, 3, 4, 6, 7, 8]]


@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_best_preset_is_calibrated_on_all_samples_and_says_what_it_did(count: int) -> None:
    best = quantize(network(), samples(count), "best")
    facts = told(best)
    assert len(facts["tried"]) == 11
    again = quantize(network(), samples(count), Preset(**facts["options"]))
    assert [*best.graph.initializer] == [*again.graph.initializer]
    assert facts["loss"] == pytest.approx(
        OutputLoss(network(), [{"x": sample} for sample in samples(count)])(again)
    )


def test_a_model_says_how_it_was_quantized() -> None:
    facts = told(quantize(network(), samples(2), Preset(activation="int8"), keep_float=["e"]))
    assert facts["options"]["activation"] == "int8"
    assert facts["in_float"] == {"Conv of 'e'": "kept in float as asked"}
    assert "loss" not in facts


@pytest.mark.parametrize("most", [1e-4, 1e-5, 1e-7])
def test_what_loses_most_stays_in_float_until_the_rest_loses_no_more(most: float) -> None:
    plain = quantize(network(), samples())
    found = quantize(network(), samples(), max_loss=most)
    assert loss(found) <= most < loss(plain)
    assert told(found)["loss"] == pytest.approx(loss(found))
    assert told(found)["in_float"]
    count = op_types(found).count("QuantizeLinear")
    assert count < op_types(plain).count("QuantizeLinear")


def test_nothing_stays_in_float_that_need_not() -> None:
    assert told(quantize(network(), samples(), max_loss=0.5))["in_float"] == {}


@pytest.mark.parametrize("most", [0.0, -1.0, float("nan")])
def test_a_bound_must_be_above_zero(most: float) -> None:
    with pytest.raises(QuantizationError, match=r"max_loss .*: expected a number above 0"):
        quantize(network(), samples(), max_loss=most)


def test_integer_borders_are_no_matter() -> None:
    model = network()
    ModelEditor(model).convert_output_type("y", TensorType.UINT8)
    found = quantize(model, samples(), "best", max_loss=1e-5)
    assert found.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert told(found)["loss"] <= 1e-5

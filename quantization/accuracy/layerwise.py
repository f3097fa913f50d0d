"""The weights of all layers, by the methods that look at one layer after the other."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx

from furiosa_ep.quantization.accuracy import rounding
from furiosa_ep.quantization.accuracy.bias_correction import correct_biases, mean_error
from furiosa_ep.quantization.accuracy.statistics import (
    SAMPLES,
    layer_statistics,
    measurable,
)
from furiosa_ep.quantization.accuracy.weight_ranges import search_range
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.samples import Feed
from furiosa_ep.quantization.weights import (
    Floats,
    Layer,
    QuantizedWeight,
    layers,
    quantize_weight,
    raise_for_bias,
    weights_of,
)


def quantize_layers(
    model: onnx.ModelProto,
    samples: Iterable[Feed],
    ranges: Mapping[str, Range],
    *,
    outputs: Collection[str] | None = None,
    per_channel: bool = True,
    search_weights: bool = False,
    adapt_rounding: bool = False,
    correct_bias: bool = False,
    limit: int = SAMPLES,
) -> tuple[onnx.ModelProto, dict[str, QuantizedWeight]]:
    """The model with biases corrected, and the integer weights of its layers by name.

    Weights stay float in the model. `outputs` names those of the layers to quantize, if not all
    are. `ranges` are those of the layers' inputs; a layer whose input has none is taken to read
    exact numbers. `samples` are iterated over as often as `layer_statistics` says, and not at all
    without any of the three methods.

    Raises:
        QuantizationError: for NaN or infinite weights, and where the model does not take a sample.
    """
    found = [
        layer
        for layer in layers(model, per_channel=per_channel)
        if outputs is None or layer.output in outputs
    ]
    arrays = weights_of(model, {one for layer in found for one in (layer.weight, layer.bias)})
    weights: dict[str, QuantizedWeight] = {}
    searched_later = {layer.weight for layer in measurable(found)}
    for layer in found:
        weight = arrays[layer.weight]
        known = weights.get(layer.weight)
        if known is None:
            search = search_weights and layer.weight not in searched_later
            plain = search_range(layer, weight) if search else None
            known = plain or quantize_weight(weight, layer.axis, layer=layer.name)
        weights[layer.weight] = _with_room(known, layer, arrays, ranges)
    if not (search_weights or adapt_rounding or correct_bias):
        return model, weights
    errors: dict[str, Floats] = {}
    for layer, seen in layer_statistics(model, found, samples, ranges, limit=limit):
        weight, centered = arrays[layer.weight], correct_bias and layer.takes_bias
        quantized = weights[layer.weight]
        if search_weights:
            better = search_range(layer, weight, seen, centered=centered)
            quantized = _with_room(better, layer, arrays, ranges)
        if adapt_rounding:
            quantized = rounding.adapt_rounding(layer, weight, quantized, seen, centered=centered)
        weights[layer.weight] = quantized
        if correct_bias:
            errors[layer.output] = mean_error(layer, weight, quantized, seen)
    return correct_biases(model, errors), weights


def _with_room(
    quantized: QuantizedWeight,
    layer: Layer,
    arrays: Mapping[str, Floats],
    ranges: Mapping[str, Range],
) -> QuantizedWeight:
    """Weights whose scales leave room for the bias in int32."""
    step = ranges[layer.input].step if layer.input in ranges else 0.0
    if not step > 0:
        return quantized
    scale = raise_for_bias(quantized.scale, step, arrays.get(layer.bias))
    if np.array_equal(scale, quantized.scale):
        return quantized
    return quantize_weight(arrays[layer.weight], layer.axis, scale, layer=layer.name)

"""Bias correction: what quantization adds to an output on the average, its bias takes off.

After M. Nagel et al., "Data-free quantization through weight equalization and bias correction"
(2019), with means that were measured.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from furiosa_ep.quantization.accuracy.statistics import LayerStatistics
from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.weights import Floats, Layer, QuantizedWeight, layers


def mean_error(
    layer: Layer, weight: Floats, quantized: QuantizedWeight, statistics: LayerStatistics
) -> Floats:
    """What each output channel gains on the average by integer weights and an 8-bit input."""
    integer = layer.rows(quantized.dequantized()).astype(np.float64)
    by_weights = integer - layer.rows(weight)
    found: Floats = np.einsum("god,gd->go", by_weights, statistics.mean)
    found += np.einsum("god,gd->go", integer, statistics.shift)
    return found.reshape(-1)


def correct_biases(model: onnx.ModelProto, errors: Mapping[str, Floats]) -> onnx.ModelProto:
    """The model with biases less the mean errors of outputs, by the name of the layer's output.

    Layers without a bias get one. A MatMul and a layer whose bias is computed stay as they are. The
    given model is left as it is.
    """
    graph = EditableGraph(model)
    for layer in layers(model):
        error = errors.get(layer.output)
        node = graph.producer(layer.output)
        if error is None or node is None or not layer.takes_bias or not np.any(error):
            continue
        old = graph.constant(layer.bias) if layer.bias else None
        dtype = np.float32 if old is None else old.dtype
        bias = (np.zeros(error.size) if old is None else old.astype(np.float64).reshape(-1)) - error
        if old is None:
            name = graph.add_constant(bias.astype(dtype), f"{layer.name}_bias")
        else:
            name = graph.revise(layer.bias, bias.astype(dtype).reshape(old.shape))
        graph.set_inputs(node, [*node.input[:2], name])
    return graph.model()

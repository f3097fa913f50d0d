"""Cross-layer equalisation: channels of a value that are alike, by scales between layers.

An activation has one scale for all of its channels, so that a channel whose numbers are small
beside those of another one is left with few of the 256 steps. Multiplying what computes this
channel, and dividing the weights that read it, changes no result. After M. Nagel et al.,
"Data-free quantization through weight equalization and bias correction" (2019), but for weights
that have scales of their own for each output channel: such scales take up all that is multiplied,
so that the activations are made alike instead of the weights that compute them.

All factors are powers of two. Products and sums then are those of before with other exponents, and
the results are the same to the last bit. Channels become alike within a factor of two, half a bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from furiosa_ep.quantization.accuracy.scale_sets import (
    FIXED,
    ScaledConstant,
    ScaledLayer,
    ScaleSets,
    Sets,
    scale_sets,
)
from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.weights import Floats, Layer

Logs = npt.NDArray[np.float64]

MAX_EXPONENT = 16
"""No channel is scaled by more than 2^16, nor by less than its inverse."""
_ROUNDS = 200
_SETTLED = 1e-3


def channel_axes(model: onnx.ModelProto) -> dict[str, int]:
    """The values whose magnitudes by channel `equalize` needs, and the axis of their channels.

    Values that only a Relu reads are not among them: they have no range of their own.
    """
    graph, sets = scale_sets(model)
    return {name: axis for name, (axis, _) in _channels(graph, sets).items()}


def equalize(model: onnx.ModelProto, maxima: Mapping[str, Floats] | None = None) -> onnx.ModelProto:
    """The same function with channels that are more alike; the given model is left as it is.

    `maxima` has the greatest magnitudes of the channels of values (`channel_axes`), as measured on
    samples; other values are left out of account. Without it, the weights of a channel are taken
    for its magnitude, which is rough.

    A channel that only depthwise layers read becomes as large as the largest one. Where others
    read it, their weights for it become smaller beside those for other channels, and the factor is
    a compromise: the geometric mean of what the value needs and what the weights need.
    """
    graph, sets = scale_sets(model)
    scaled = sets.layers()
    if maxima is None:
        maxima = {one.layer.output: _row_magnitudes(graph, one.layer) for one in scaled}
        axes = dict.fromkeys(maxima, 0)
    else:
        axes = dict.fromkeys(_channels(graph, sets), 0)
    values = [
        _Value(_flat(sets.of(name), maxima[name].size), _log2(maxima[name]))
        for name in axes
        if name in maxima
    ]
    weights = [_Weights.of(graph, one) for one in scaled]
    with np.errstate(invalid="ignore"):  # channels of nothing but zeros have no wishes
        exponents = _exponents(sets.count, values, weights)
    if not exponents.any():
        return model
    factors = np.exp2(exponents)
    for layer in scaled:
        _scale_layer(graph, layer, factors)
    for constant in sets.constants():
        _scale_constant(graph, constant, factors)
    return graph.model()


@dataclass(frozen=True)
class _Value:
    """Sets and magnitudes of the channels of a value that has one scale."""

    sets: Sets
    logs: Logs


@dataclass(frozen=True)
class _Weights:
    """Magnitudes of a layer's weights: [groups, outputs of a group, inputs of a group]."""

    inputs: Sets
    """[groups, 1, inputs of a group]."""
    outputs: Sets
    """[groups, outputs of a group, 1]."""
    logs: Logs
    has_scales: bool
    """Whether each output channel has a scale."""

    @classmethod
    def of(cls, graph: EditableGraph, scaled: ScaledLayer) -> "_Weights":
        layer = scaled.layer
        rows = layer.rows(_constant(graph, layer.weight))
        groups, outputs, _ = rows.shape
        by_input = np.abs(rows).reshape(groups, outputs, layer.input_channels // groups, -1).max(3)
        return cls(
            scaled.inputs.reshape(groups, 1, -1),
            scaled.outputs.reshape(groups, outputs, 1),
            _log2(by_input),
            layer.axis is not None,
        )


def _exponents(count: int, values: list[_Value], weights: list[_Weights]) -> npt.NDArray[np.intp]:
    """The exponent of the factor of each set.

    Each value wants its channels to be as large as they are in the mean (of logarithms). So do the
    weights of a layer for its input channels, each as large as its share of the output that it
    matters most to, and the weights of all outputs where these have one scale. The sum of the
    squares of what is left of these wishes is least.
    """
    exponents = np.zeros(count)
    for _ in range(_ROUNDS):
        total, wishes = np.zeros(count), np.zeros(count)

        def wish(sets: Sets, logs: Logs, sign: int, total: Logs, wishes: Logs) -> None:
            known = np.isfinite(logs)
            if known.any():
                np.add.at(total, sets[known], sign * (logs[known] - logs[known].mean()))
                np.add.at(wishes, sets[known], 1)

        for value in values:
            wish(value.sets, value.logs + exponents[value.sets], -1, total, wishes)
        for one in weights:
            logs = one.logs + exponents[one.outputs] - exponents[one.inputs]
            if one.has_scales:
                logs = logs - logs.max(2, keepdims=True)
            else:
                wish(one.outputs[:, :, 0], logs.max(2), -1, total, wishes)
            if one.inputs.shape[2] > 1 or not one.has_scales:
                wish(one.inputs[:, 0], logs.max(1), 1, total, wishes)
        total[FIXED] = 0
        change = total / np.maximum(wishes, 1)
        exponents += change
        if np.abs(change).max(initial=0) < _SETTLED:
            break
    # Halves all go up, so that differences of whole numbers stay.
    return np.floor(exponents + 0.5).clip(-MAX_EXPONENT, MAX_EXPONENT).astype(np.intp)


def _channels(graph: EditableGraph, sets: ScaleSets) -> dict[str, tuple[int, Sets]]:
    """The values with ranges whose sets differ along one axis: the axis, and the sets along it."""
    found = {}
    for name in sets.values():
        of = sets.of(name)
        axes = [axis for axis, length in enumerate(of.shape) if length > 1]
        reader = graph.sole_reader(name)
        if len(axes) == 1 and (reader is None or reader.op_type != "Relu"):
            found[name] = (axes[0], of.reshape(-1))
    return found


def _flat(sets: Sets, length: int) -> Sets:
    return np.broadcast_to(sets.reshape(-1), length)


def _row_magnitudes(graph: EditableGraph, layer: Layer) -> Floats:
    found: Floats = np.abs(layer.rows(_constant(graph, layer.weight))).max(2).reshape(-1)
    return found


def _scale_layer(graph: EditableGraph, scaled: ScaledLayer, factors: Logs) -> None:
    layer = scaled.layer
    inputs, outputs = factors[scaled.inputs], factors[scaled.outputs]
    if (inputs == 1).all() and (outputs == 1).all():
        return
    rows = layer.rows(_constant(graph, layer.weight))
    groups, count, depth = rows.shape
    per_input = np.repeat(
        inputs.reshape(groups, 1, -1), depth * groups // layer.input_channels, axis=2
    )
    rows = rows * (outputs.reshape(groups, count, 1) / per_input)
    node = _node(graph, layer)
    names = list(node.input)
    names[1] = graph.revise(names[1], layer.from_rows(rows).astype(np.float32))
    if layer.bias:
        bias = _constant(graph, layer.bias)
        scaled_bias = (bias * outputs.reshape(bias.shape)).astype(np.float32)
        names[2] = graph.revise(names[2], scaled_bias)
    graph.set_inputs(node, names)


def _scale_constant(graph: EditableGraph, scaled: ScaledConstant, factors: Logs) -> None:
    names = list(scaled.node.input)
    array = _constant(graph, names[scaled.position])
    by = (array * factors[scaled.sets]).astype(np.float32)
    names[scaled.position] = graph.revise(names[scaled.position], by)
    graph.set_inputs(scaled.node, names)


def _node(graph: EditableGraph, layer: Layer) -> onnx.NodeProto:
    node = graph.producer(layer.output)
    if node is None:
        raise ValueError(f"{layer.output!r}: expected a layer's output")
    return node


def _constant(graph: EditableGraph, name: str) -> Floats:
    array = graph.constant(name)
    if array is None:
        raise ValueError(f"{name!r}: expected a constant")
    return array


def _log2(array: Floats) -> Logs:
    with np.errstate(divide="ignore"):
        return np.log2(np.asarray(array, np.float64))

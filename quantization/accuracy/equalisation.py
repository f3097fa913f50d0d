"""Cross-layer equalisation: channels of a value that are alike, by scales between layers.

An activation has one scale for all of its channels, so that a channel whose numbers are small
beside those of another one is left with few of the 256 steps. Multiplying what computes this
channel, and dividing the weights that read it, changes no result. After M. Nagel et al.,
"Data-free quantization through weight equalization and bias correction" (2019), but for weights
that have scales of their own for each output channel: such scales take up all that is multiplied,
so that the activations are made alike instead of the weights that compute them.

All factors are powers of two. Products and sums then are those of before with other exponents, and
the results are the same to the last bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnx

from furiosa_ep.quantization.accuracy.scale_sets import (
    ScaledLayer,
    ScaleSets,
    channels_of,
    scale_sets,
)
from furiosa_ep.quantization.accuracy.scale_state import FIXED, Begin, ScaledConstant, Sets
from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.ranges import STEPS
from furiosa_ep.quantization.weights import LIMIT, Floats, Layer

Logs = npt.NDArray[np.float64]

_MOST = 16
"""No channel is raised by more bits."""
_ROUNDS = 100
_PEAK = 4.0
"""How many times its root mean square the greatest magnitude of a channel is taken to be."""


def channel_axes(model: onnx.ModelProto, begin: Begin = "layers") -> dict[str, int]:
    """The values whose magnitudes by channel `equalize` needs, and the axis of their channels.

    Values that only a Relu or a Clip reads are not among them: they have no range of their own.
    """
    graph, sets = scale_sets(model, begin)
    return channels_of(graph, sets)


def equalize(
    model: onnx.ModelProto,
    reaches: Mapping[str, Floats],
    begin: Begin = "layers",
    strength: float = 0.5,
    places: Mapping[str, bool] = MappingProxyType({}),
) -> onnx.ModelProto:
    """The same function with channels that are more alike; the given model is left as it is.

    `reaches` has the greatest magnitudes that are expected of the channels of values
    (`channel_axes`, `statistics.channel_reaches`); values that it does not name have no say, and
    are fixed behind a Clip. Scale sets `begin` at layers or at norms; constants at `places` take
    factors, too (`scale_sets`).

    Small channels are raised, so that no range changes but that of weights. A channel that only
    depthwise layers read is raised as far as there is room. Where others read it, their weights for
    it become smaller beside those for other channels, and the factor is the one with which the
    noise of the activation and that of the weights are least together.

    A Clip from zero to a limit, as in Relu6, is taken for a Relu in channels that are raised. A
    number that is larger than was expected of its channel is limited more than before; so it would
    be by 8 bits, whose range the largest channels set. All other results are the same to the last
    bit.

    A `strength` above a half, and up to 1, lets the noise of activations count for more than that
    of weights.
    """
    graph, sets = scale_sets(model, begin, reaches, places)
    known = {name: reaches[name] for name in channels_of(graph, sets) if name in reaches}
    return _raise_channels(graph, sets, known, strength)


def _raise_channels(
    graph: EditableGraph, sets: ScaleSets, reaches: Mapping[str, Floats], strength: float
) -> onnx.ModelProto:
    """The model with the small channels of values raised, as `equalize` says."""
    scaled = sets.layers()
    values = [
        _Value(np.broadcast_to(sets.of(name).reshape(-1), found.size), _log2(found))
        for name, found in reaches.items()
    ]
    weights = [_Weights.of(graph, one) for one in scaled]
    with np.errstate(invalid="ignore", divide="ignore"):  # channels of nothing but zeros
        bias = np.log2(strength) - np.log2(1 - strength)
        exponents = _exponents(sets.count, values, weights, bias)
    if exponents.any():
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
    """A layer's weights: [groups, outputs of a group, inputs of a group]."""

    inputs: Sets
    """[groups, 1, inputs of a group]."""
    outputs: Sets
    """[groups, outputs of a group, 1]."""
    largest: Logs
    """The logarithm of the greatest magnitude for each input."""
    squares: Logs
    """The logarithm of the sum of squares for each input."""
    has_scales: bool
    """Whether each output channel has a scale."""

    @classmethod
    def of(cls, graph: EditableGraph, scaled: ScaledLayer) -> "_Weights":
        layer = scaled.layer
        rows = layer.rows(_constant(graph, layer.weight)).astype(np.float64)
        groups, outputs, _ = rows.shape
        by_input = np.abs(rows).reshape(groups, outputs, layer.input_channels // groups, -1)
        return cls(
            scaled.inputs.reshape(groups, 1, -1),
            scaled.outputs.reshape(groups, outputs, 1),
            _log2(by_input.max(3)),
            _log2((by_input**2).sum(3)),
            layer.axis is not None,
        )


def _exponents(count: int, values: list[_Value], weights: list[_Weights], bias: float) -> Logs:
    """By how many bits each set is raised, found in rounds: weights that shrink make room.

    Noise of activations counts for 2^bias times that of weights.
    """
    peaks = np.full(count, -np.inf)
    for value in values:
        np.maximum.at(peaks, value.sets, value.logs)
    exponents = np.zeros(count)
    for _ in range(_ROUNDS):
        room = np.minimum(_room(exponents, values, weights), _MOST - exponents)
        step = np.floor(np.minimum(room, _balance(exponents, peaks, weights) + bias / 4))
        step[[FIXED]] = 0
        step = np.where(np.isfinite(step), np.maximum(step, 0), 0)
        if not step.any():
            break
        exponents += step
    return exponents


def _room(exponents: Logs, values: list[_Value], weights: list[_Weights]) -> Logs:
    """How far sets can be raised before any of their values needs a wider range; -inf: unknown."""
    room = np.full(exponents.shape, np.inf)
    seen = np.zeros(exponents.shape, bool)
    for value in values:
        logs = value.logs + exponents[value.sets]
        np.minimum.at(room, value.sets, logs.max(initial=-np.inf) - logs)
        seen[value.sets] = True
    for one in weights:
        if not one.has_scales:
            logs = (one.largest + exponents[one.outputs] - exponents[one.inputs]).max(2)
            np.minimum.at(room, one.outputs[:, :, 0], logs.max() - logs)
    return np.where(seen, room, -np.inf)


def _balance(exponents: Logs, peaks: Logs, weights: list[_Weights]) -> Logs:
    """How far to raise sets until the noise of activations is that of the weights that read them.

    Both as shares of the power of the outputs. A factor f divides the power of one by f^2 and
    multiplies that of the other by f^2.
    """
    by_values, by_weights = np.zeros(exponents.shape), np.zeros(exponents.shape)
    for one in weights:
        logs = peaks[one.inputs] + exponents[one.inputs]
        logs = np.where(np.isfinite(logs), logs, -np.inf)
        largest = one.largest - exponents[one.inputs]
        largest = largest.max(2, keepdims=True) if one.has_scales else largest.max(keepdims=True)
        squares = np.exp2(one.squares - 2 * exponents[one.inputs])
        power = np.exp2(2 * logs) / _PEAK**2
        outputs = (squares * power).sum(2, keepdims=True)
        shares = np.divide(1, outputs, out=np.zeros_like(outputs), where=outputs > 0)
        steps = np.exp2(2 * logs.max()) / STEPS**2
        np.add.at(by_values, one.inputs[:, 0], (squares * shares).sum(1) * steps)
        if one.inputs.shape[2] > 1 or not one.has_scales:
            noise = (np.exp2(2 * largest) / LIMIT**2 * shares).sum(1)
            np.add.at(by_weights, one.inputs[:, 0], noise * power[:, 0])
    found = (_log2(by_values) - _log2(by_weights)) / 4
    # What no layer reads, but a place in front of a function does, is raised as far as there is
    # room, as is what depthwise layers read.
    return np.where((by_values == 0) & (by_weights == 0), np.inf, found)


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
    by = (array * (factors[scaled.sets] / factors[scaled.divisors])).astype(np.float32)
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

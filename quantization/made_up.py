"""QDQ models with made-up numbers, for all that depends on operators and shapes alone."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from furiosa_ep.quantization.insertion import insert_qdq
from furiosa_ep.quantization.optimize.copies import elements_of, is_shape_alone, reference_to
from furiosa_ep.quantization.optimize.shapes import infer_shapes
from furiosa_ep.quantization.parameters import parameters_of
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.weights import Layer, QuantizedWeight

_PERIOD = 1 << 16
"""After so many bytes made-up weights repeat."""
_RANGE = Range(-1.0, 1.0)


class MadeUp(NamedTuple):
    """A model for this process: large constants are in memory that it refers to."""

    model: onnx.ModelProto
    memory: tuple[npt.NDArray[np.generic], ...]
    """What must stay as long as the constants are read."""


def made_up(scheme: Scheme) -> MadeUp:
    """The model that quantization would make of a scheme, but with numbers that mean nothing.

    No two layers have the same weights, so that each has its own place in a Program.
    """
    weights, noise = _weights(scheme.layers)
    model = insert_qdq(
        scheme,
        dict.fromkeys(scheme.values, parameters_of(_RANGE, np.uint8)),
        weights,
        by_address=True,
    )
    floats = _refer_to_floats(model)
    infer_shapes(model)
    return MadeUp(model, (noise, *floats))


def _refer_to_floats(model: onnx.ModelProto) -> tuple[npt.NDArray[np.generic], ...]:
    """Give elements to initializers of which only the shape is known; all have the same ones."""
    unknown = [one for one in model.graph.initializer if is_shape_alone(one)]
    longest: dict[int, onnx.TensorProto] = {}
    for one in sorted(unknown, key=lambda tensor: math.prod(tensor.dims)):
        longest[one.data_type] = one
    floats = {
        dtype: np.ascontiguousarray(elements_of(one)).reshape(-1) for dtype, one in longest.items()
    }
    for one in unknown:
        own = floats[one.data_type][: math.prod(one.dims)].reshape(one.dims)
        one.CopyFrom(reference_to(own, one.name))
    return tuple(floats.values())


def _weights(
    layers: Mapping[str, Layer],
) -> tuple[dict[str, QuantizedWeight], npt.NDArray[np.generic]]:
    """Weights for all layers, parts of the same noise that start at different bytes of it."""
    sizes = {layer.weight: math.prod(layer.dims) for layer in layers.values()}
    period = np.random.default_rng(0).integers(-127, 127, _PERIOD, np.int8)
    noise = np.resize(period, max(sizes.values(), default=0) + len(sizes))
    starts = {name: start for start, name in enumerate(sizes)}
    found = {}
    for layer in layers.values():
        start = starts[layer.weight]
        integers = noise[start : start + sizes[layer.weight]].reshape(layer.dims)
        scales = () if layer.axis is None else (layer.dims[layer.axis],)
        found[layer.weight] = QuantizedWeight(integers, np.ones(scales, np.float32), layer.axis)
    return found, noise

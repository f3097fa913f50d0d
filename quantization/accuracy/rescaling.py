"""Equalisation through functions that are not homogeneous, by factors in the tables of the NPU."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from furiosa_ep.quantization.accuracy.equalisation import equalize
from furiosa_ep.quantization.accuracy.places import Place, find_places, with_places
from furiosa_ep.quantization.accuracy.scale_sets import channels_of, scale_sets
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.weights import Floats

Measure = Callable[[onnx.ModelProto, Mapping[str, int]], Mapping[str, Floats]]
"""How far channels of values of a model are taken to reach, along the given axes."""

SAMPLES = 512
"""So many samples tell how far channels reach: some do so for few things only."""
ADAPTED_STRENGTH = 0.94
"""The strength of `equalize_scheme` where weights have a scale for each output channel, their
rounding is adapted and biases are corrected: then they add a seventh of the noise that is estimated
of them, in trained networks. That factors are rounded down, by half a bit on the average, counts
4 times. Together, noise of activations counts for 16 times that of weights."""
WORTH = 0.5
"""A function gets a table for each channel where the noise of what it reads or computes becomes
this part of what it was."""


def equalize_scheme(scheme: Scheme, measure: Measure, strength: float = 0.5) -> Scheme:
    """The scheme for the same function with channels that are alike (`equalisation.equalize`).

    Where channels of what a SiLU, HardSwish, Gelu or another function of one value reads or
    computes are far apart, constants that differ from channel to channel are added to it; none of
    its channels is taken to reach less far than the median one. All factors are powers of two.
    `strength` is that of `equalisation.equalize`.
    """
    places = find_places(scheme)
    placed = with_places(scheme, places)
    graph, sets = scale_sets(placed.model, places=_sides(places))
    measured = dict(measure(placed.model, channels_of(graph, sets)))
    for name in {place.value for place in places} & measured.keys():
        measured[name] = np.maximum(measured[name], np.median(measured[name]))
    raised = _raised(placed, places, measured, strength)
    units = {place.unit for place in places if _noise(raised, place) <= WORTH}
    places = [place for place in places if place.unit in units]
    raised = _raised(with_places(scheme, places), places, measured, strength)
    places = [place for place in places if _noise(raised, place) < 1]
    return _raised(with_places(scheme, places), places, measured, strength)


def _raised(
    scheme: Scheme, places: Sequence[Place], measured: Mapping[str, Floats], strength: float
) -> Scheme:
    sides = _sides(places)
    return scheme.of(equalize(scheme.model, measured, strength=strength, places=sides))


def _sides(places: Sequence[Place]) -> dict[str, bool]:
    return {place.constant: place.is_before for place in places}


def _noise(scheme: Scheme, place: Place) -> float:
    """Which part of the noise that rounding adds to a value is left behind the factors."""
    factors = numpy_helper.to_array(scheme.constants[place.constant]).astype(np.float64)
    return float(np.mean(np.square(factors if place.is_before else 1 / factors)))

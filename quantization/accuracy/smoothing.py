"""Smoothing: channels of norms that are more alike, at the cost of the weights that read them.

What a LayerNormalization computes has a few channels that are much larger than the others. Its
scale and bias are divided by a factor for each channel, and the weights that read it multiplied
(G. Xiao et al., "SmoothQuant", 2022). The factors are found as for cross-layer equalisation.
"""

from collections.abc import Mapping

import onnx

from furiosa_ep.quantization.accuracy.equalisation import channel_axes, equalize
from furiosa_ep.quantization.weights import Floats


def smoothed_axes(model: onnx.ModelProto) -> dict[str, int]:
    """The values whose magnitudes by channel `smooth` needs, and the axis of their channels."""
    return channel_axes(model, "norms")


def smooth(
    model: onnx.ModelProto, reaches: Mapping[str, Floats], strength: float = 0.5
) -> onnx.ModelProto:
    """The same function, to the last bit, with channels of norms that are more alike.

    For LayerNormalization, BatchNormalization and InstanceNormalization with constant scales, and
    for Mul by a constant for each channel, with or without an Add behind it, where nothing but
    layers with constant weights (of MatMul, Gemm, Conv, ConvTranspose) reads the result, be it
    through operators that are homogeneous. `reaches` has the greatest magnitudes that are expected
    of the channels of values (`smoothed_axes`). `strength` is from 0, where nothing is done, to 1,
    where the loss of weights counts for nothing; a half counts both alike. The given model is left
    as it is.
    """
    return equalize(model, reaches, "norms", min(strength, 1.0)) if strength > 0 else model

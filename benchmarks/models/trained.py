"""Networks of random weights whose values spread as those of trained networks do.

What makes networks hard to hold in 8 bits is not what their weights are but how values spread:
from channel to channel, and from common values to rare ones. BatchNormalization leaves that to
training, so here every layer is normalised on images, and its spread chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper

from benchmarks.models.network import IR_VERSION, OPSET, Network, square

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Spread:
    """How the channels of a layer spread before their activation function, as drawn at random."""

    decades: float = 0.3
    """The channels of most and least deviation are apart by ten to the power of this.

    The logarithms of deviations are distributed normally, so most channels are much closer.
    """
    largest: float = 2.0
    """Deviation of the channel that varies most."""
    offset: float = 0.5
    """Standard deviation of channels' means, in deviations of the channel."""
    rare: float = 0.0
    """The share of channels that are far below zero nearly always: detectors of rare things."""
    below: float = 60.0
    """How far below zero the mean of a rare channel is, which is four of its deviations."""


class Trained(Network):
    """A network for images like the given ones, on which every layer is normalised.

    Deviations of channels are as drawn whatever the weights before them, but that values which
    vary little are not made to vary. Weights make up for the different deviations of the channels
    that they read, so that all of them count; of rare ones the largest values count as others do.
    """

    def __init__(self, name: str, images: Array, seed: int = 0) -> None:
        super().__init__(name, (1, *images.shape[1:]), seed)
        self.values: dict[str, Array] = {self.input: images}
        """Every value of the network on the images."""
        self._sizes: dict[str, Array] = {}
        """How large the numbers in the channels of a value are as a rule, where that is known."""

    def constant(self, array: Array) -> str:
        """Add an initializer."""
        name = super().constant(array)
        self.values[name] = array
        return name

    def ops(
        self, op_type: str, *inputs: str, channels: Sequence[int], **attributes: Any
    ) -> list[str]:
        """Add a node with one output for each entry of `channels`, and run it on the images."""
        outputs = super().ops(op_type, *inputs, channels=channels, **attributes)
        given = {name: self.values[name] for name in inputs if name}
        node = helper.make_node(op_type, inputs, outputs, **attributes)
        self.values |= zip(outputs, _evaluate(node, given), strict=True)
        if inputs[0] in self._sizes and channels == [0]:
            self._sizes[outputs[0]] = self._sizes[inputs[0]]
        return outputs

    def layer(
        self,
        x: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        spread: Spread = Spread(),
    ) -> str:
        """A square convolution with bias, whose results spread as told."""
        deviations, means, sizes = self._drawn(channels, spread)
        fan_in = self.channels(x) // groups
        weight = self._random.standard_normal((channels, fan_in, kernel, kernel), np.float32)
        given = self._sizes.get(x, np.ones(self.channels(x), np.float32))
        weight /= given[None, :, None, None] if groups == 1 else given[:, None, None, None]
        attributes = square(kernel, stride, groups)
        node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
        (raw,) = _evaluate(node, {"x": self.values[x], "w": weight})
        quiet = 0.3 * kernel * np.sqrt(fan_in)  # what varies little is not made to vary
        gain = deviations / np.maximum(_deviations(raw), quiet)
        weight *= gain[:, None, None, None]
        bias = means - gain * raw.mean(axis=(0, 2, 3))
        constants = (self.constant(array.astype(np.float32)) for array in (weight, bias))
        y = self.op("Conv", x, *constants, channels=channels, **attributes)
        self._sizes[y] = sizes
        return y

    def _drawn(self, channels: int, spread: Spread) -> tuple[Array, Array, Array]:
        """The deviation, the mean and the usual size of each channel."""
        places = (np.arange(channels) + 0.5) / channels
        bell = np.array([NormalDist().inv_cdf(place) for place in places])
        exponents = (bell - bell.max()) / max(np.ptp(bell), 1e-6) * spread.decades
        deviations = spread.largest * 10 ** self._random.permutation(exponents)
        means = deviations * self._random.normal(0, spread.offset, channels)
        rare = self._random.permutation(channels) < round(spread.rare * channels)
        return (
            np.where(rare, spread.below / 4, deviations).astype(np.float32),
            np.where(rare, -spread.below, means).astype(np.float32),
            np.where(rare, spread.below, deviations).astype(np.float32),
        )


def _deviations(values: Array) -> Array:
    deviations: Array = values.std(axis=(0, *range(2, values.ndim)))
    return deviations


def _evaluate(node: onnx.NodeProto, given: dict[str, Array]) -> list[Array]:
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "node", inputs, outputs)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, given)
    return found


def textures(count: int, size: int, seed: int) -> Array:
    """Images with the spectrum of photographs, float32 [count, 3, size, size], of deviation 1."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    spectrum = random.standard_normal((count, 3, *frequency.shape), np.float32)
    spectrum = spectrum + 1j * random.standard_normal(spectrum.shape, np.float32)
    spectrum[:, 1:] = 0.7 * spectrum[:, :1] + 0.7 * spectrum[:, 1:]  # colours go together
    images: Array = np.fft.irfft2(spectrum / np.maximum(frequency, 1), (size, size))
    images /= images.std(axis=(1, 2, 3), keepdims=True)
    return images.astype(np.float32)

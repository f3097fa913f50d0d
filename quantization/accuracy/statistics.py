"""What the accuracy methods need to know of activations, gathered while samples pass by."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from furiosa_ep.quantization.accuracy.patches import has_patches, patches
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.copies import copied
from furiosa_ep.quantization.optimize.editing import add_outputs
from furiosa_ep.quantization.ranges import STEPS, Range
from furiosa_ep.quantization.samples import Array, Feed
from furiosa_ep.quantization.weights import Floats, Layer

SAMPLES = 64
"""So many samples tell enough of means and products."""
POSITIONS = 256
"""Of each sample, so many output positions of a layer are looked at."""
MAX_DEPTH = 8192
"""Products of inputs are gathered up to so many inputs of an output channel."""
_AT_A_TIME = 1 << 26
"""So many products are in memory at a time; there are more passes over the samples for more."""


@dataclass(frozen=True)
class LayerStatistics:
    """What the output channels of a layer see: [groups, depth], means over output positions."""

    mean: Floats
    square: Floats
    """Of the squares."""
    product: Floats | None
    """Of the products of any two inputs, [groups, depth, depth]; None where these are too many."""
    shift: Floats
    """By how much the input's range and its 8 bits change the mean."""
    noise: float
    """The variance that its 8 bits add: a twelfth of the square of a step."""


def channel_reaches(
    model: onnx.ModelProto,
    axes: Mapping[str, int],
    samples: Iterable[Feed],
    *,
    limits: Mapping[str, Range] = MappingProxyType({}),
    limit: int = SAMPLES,
) -> dict[str, Floats]:
    """How far each channel of some values is taken to reach, on samples like these.

    `axes` names the axis of the channels of each value. Numbers beyond the `limits` of a value
    count as these. A value that is empty in all samples is left out. At most `limit` samples are
    looked at (`expected_reaches`).

    Raises:
        QuantizationError: where the model does not take a sample.
    """
    peaks: dict[str, list[Floats]] = {}
    for arrays in _runs(model, list(axes), samples, limit):
        for name, array in arrays.items():
            if not array.size:
                continue
            axis = axes[name] % array.ndim
            others = tuple(i for i in range(array.ndim) if i != axis)
            low, high = array.min(others), array.max(others)
            if name in limits:
                low, high = (np.clip(one, *limits[name]) for one in (low, high))
            peaks.setdefault(name, []).append(np.maximum(high, -low))
    return {name: expected_reaches(np.stack(found)) for name, found in peaks.items()}


def expected_reaches(peaks: Floats) -> Floats:
    """How far channels reach on samples that were not seen, from their `peaks` in those that were.

    `peaks` are the greatest magnitudes of the channels of a value: [samples, channels]. A channel
    is taken to reach as far beyond the greatest of them as that is beyond the median one: what few
    samples wake may be woken far more by others, what each sample shows may not. But no channel
    is taken to reach farther than the farthest one was seen to, and one that is zero in most
    samples as far as that.
    """
    farthest = peaks.max(0).astype(np.float64)
    median = np.median(np.abs(peaks), 0).astype(np.float64)
    reaches: Floats = np.full_like(farthest, np.inf)
    np.divide(farthest**2, median, out=reaches, where=median > 0)
    np.minimum(reaches, farthest.max(), out=reaches)
    return reaches


def layer_statistics(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    samples: Iterable[Feed],
    ranges: Mapping[str, Range] | None = None,
    *,
    limit: int = SAMPLES,
    positions: int = POSITIONS,
) -> Iterator[tuple[Layer, LayerStatistics]]:
    """Layer by layer, what its outputs see, over at most `limit` samples.

    The model runs on the samples more than once where the products of all layers are too many at
    a time, so samples must be iterable again. `ranges` are those of the layers' inputs; without
    one, an input is taken to be exact. Layers that are not `measurable`, or see nothing, are left
    out.

    Raises:
        QuantizationError: where the model does not take a sample.
    """
    for part in _parts(measurable(layers)):
        sums = {layer.output: _Sums(layer, (ranges or {}).get(layer.input)) for layer in part}
        inputs = list(dict.fromkeys(layer.input for layer in part))
        for number, arrays in enumerate(_runs(model, inputs, samples, limit)):
            for layer in part:
                random = np.random.default_rng(number)
                sums[layer.output].add(patches(layer, arrays[layer.input], positions, random))
        for layer in part:
            found = sums.pop(layer.output).means()
            if found is not None:
                yield layer, found


def measurable(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that `layer_statistics` takes: images or rows, with weights of their own."""
    readers = Counter(layer.weight for layer in layers)
    return [layer for layer in layers if has_patches(layer) and readers[layer.weight] == 1]


def _depth(layer: Layer) -> int:
    return int(np.prod(layer.dims)) // layer.output_channels


def _parts(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Layers whose products are in memory together."""
    part: list[Layer] = []
    size = 0
    for layer in layers:
        depth = _depth(layer)
        own = layer.groups * depth**2 if depth <= MAX_DEPTH else 0
        if part and size + own > _AT_A_TIME:
            yield part
            part, size = [], 0
        part.append(layer)
        size += own
    if part:
        yield part


class _Sums:
    """Sums over the positions of the samples so far."""

    def __init__(self, layer: Layer, limits: Range | None) -> None:
        dims, self._limits = (layer.groups, _depth(layer)), limits
        self._count = 0
        self._sum, self._squares, self._shift = (np.zeros(dims) for _ in range(3))
        has_products = dims[1] <= MAX_DEPTH
        self._products = np.zeros((*dims, dims[1]), np.float32) if has_products else None

    def add(self, rows: Floats) -> None:
        self._count += rows.shape[1]
        self._sum += rows.sum(1)
        if self._limits is not None:
            self._shift += (quantized(rows, self._limits) - rows).sum(1)
        if self._products is None:
            self._squares += np.square(rows).sum(1)
            return
        products = rows.swapaxes(1, 2) @ rows
        self._squares += np.einsum("gdd->gd", products)
        self._products += products

    def means(self) -> LayerStatistics | None:
        if not self._count or not np.isfinite(self._squares).all():
            return None
        products = self._products
        step = 0.0 if self._limits is None else self._limits.step
        return LayerStatistics(
            self._sum / self._count,
            self._squares / self._count,
            None if products is None else products / np.float32(self._count),
            self._shift / self._count,
            step**2 / 12,
        )


def quantized(x: Floats, limits: Range) -> npt.NDArray[np.float32]:
    """What 8 bits tell of numbers."""
    step = np.float32(limits.step)
    if not step > 0:
        return np.zeros_like(x, np.float32)
    zero = np.rint(-limits.low / step)
    found: npt.NDArray[np.float32] = (np.clip(np.rint(x / step) + zero, 0, STEPS) - zero) * step
    return found


def _runs(
    model: onnx.ModelProto, names: list[str], samples: Iterable[Feed], limit: int
) -> Iterator[dict[str, Array]]:
    """The values of these names, sample by sample."""
    inputs = {value.name for value in model.graph.input}
    outputs = [name for name in names if name not in inputs]
    session = _session(model, outputs)
    for number, feed in enumerate(islice(samples, limit)):
        try:
            # A session that is asked for no output gives all.
            found = session.run(outputs, feed) if outputs else []
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise QuantizationError(
                f"the model does not take calibration sample {number}: {error}"
            ) from error
        yield {name: feed[name] for name in names if name in inputs} | dict(
            zip(outputs, found, strict=True)
        )


def _session(model: onnx.ModelProto, outputs: list[str]) -> ort.InferenceSession:
    augmented = copied(model)
    add_outputs(augmented.graph, outputs)
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    return ort.InferenceSession(
        augmented.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

"""Run a float model such that the values of interest can be seen without slowing it down.

The session is optimised as far as the values allow. ONNX Runtime holds the images between
convolutions in blocks of channels, and a value that leaves it has to be reordered, which takes
longer than to look at it. So, where only extremes and a few numbers of a value are needed and it is
known to have none below zero, the session itself pools the greatest numbers and picks a few pixels,
in blocks.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.copies import copied
from furiosa_ep.quantization.optimize.editing import add_outputs
from furiosa_ep.quantization.samples import Array, Feed

AT_ONCE = 2
"""How many samples run at a time: cores are busier than with all of them on one sample."""
FEWEST_STEPS = 4
"""Pixels that are picked of a row or a column; fewer would tell little of it."""
BLOCK = 1 << 17
"""Numbers that a core's cache holds, while smallest and largest are looked for one by one."""


class Observation(NamedTuple):
    """One value in one sample; `low` and `high` are those of a SampleCollector."""

    low: float
    high: float
    numbers: Array


class ProbedModel:
    """A float model whose values can be observed."""

    def __init__(
        self, model: onnx.ModelProto, values: Sequence[str], sample_size: int | None
    ) -> None:
        """Observe float values of a prepared model, inputs among them.

        An observation has about `sample_size` numbers, flat, or the whole array for None.
        """
        augmented = copied(model)
        self._probes = dict(_probes(augmented.graph, values, sample_size))
        inputs = {value.name for value in model.graph.input}
        self._outputs = [
            name for probe in self._probes.values() for name in probe.outputs if name not in inputs
        ]
        add_outputs(augmented.graph, self._outputs)
        self._session = ort.InferenceSession(
            augmented.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
        )

    def run(self, feed: Feed, number: int) -> dict[str, Observation]:
        """What the values are in a sample, but for empty ones.

        Raises:
            QuantizationError: where the model does not take the sample.
        """
        try:
            # A session that is asked for no output gives all.
            found = self._session.run(self._outputs, feed) if self._outputs else []
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise QuantizationError(
                f"the model does not take calibration sample {number}: {error}"
            ) from error
        arrays = {**feed, **dict(zip(self._outputs, found, strict=True))}
        return {
            name: probe.read(arrays, number)
            for name, probe in self._probes.items()
            if all(arrays[output].size for output in probe.outputs)
        }


class _Probe(Protocol):
    @property
    def outputs(self) -> Sequence[str]: ...

    def read(self, arrays: Mapping[str, Array], number: int) -> Observation: ...


@dataclass(frozen=True)
class _Whole:
    """The value itself leaves the session."""

    value: str
    sample_size: int | None

    @property
    def outputs(self) -> Sequence[str]:
        return (self.value,)

    def read(self, arrays: Mapping[str, Array], number: int) -> Observation:
        array = np.asarray(arrays[self.value], np.float32)
        low, high = _extremes(array)
        if self.sample_size is None:
            return Observation(low, high, array)
        return Observation(low, high, _thinned(array, self.sample_size, number))


@dataclass(frozen=True)
class _Pooled:
    """The greatest numbers and some pixels of a value that has no numbers below zero."""

    peaks: str
    pixels: str | None
    sample_size: int

    @property
    def outputs(self) -> Sequence[str]:
        return (self.peaks,) if self.pixels is None else (self.peaks, self.pixels)

    def read(self, arrays: Mapping[str, Array], number: int) -> Observation:
        pixels = arrays[self.pixels].ravel() if self.pixels else np.empty(0, np.float32)
        # Pooling may lose sight of a NaN, so that the pixels have their say as well.
        high = np.maximum(arrays[self.peaks].max(), pixels.max(initial=0))
        return Observation(0.0, float(high), _thinned(pixels, self.sample_size, number))


def _extremes(array: Array) -> tuple[float, float]:
    """The smallest and the largest number; NaN where there is one."""
    flat = array.reshape(-1)
    blocks = [flat[first : first + BLOCK] for first in range(0, flat.size, BLOCK)]
    both = [(block.min(), block.max()) for block in blocks]
    low, high = np.transpose(both)
    return float(low.min()), float(high.max())


def _thinned(array: Array, size: int, number: int) -> Array:
    """About `size` numbers, from everywhere in the array, and others for the next sample."""
    if not size:
        return np.empty(0, np.float32)
    step = max(1, array.size // size)
    while math.gcd(step, array.size) > 1:  # so that every row, column and channel has its turn
        step += 1
    return array.reshape(-1)[number % step :: step].copy()


def _probes(
    graph: onnx.GraphProto, values: Sequence[str], sample_size: int | None
) -> Iterator[tuple[str, _Probe]]:
    """How each value is observed; adds to the graph what that needs."""
    shapes = _image_shapes(graph) if sample_size is not None else {}
    nonnegative = _nonnegative(graph) if sample_size is not None else set()
    for value in values:
        if sample_size is not None and value in nonnegative and value in shapes:
            yield value, _pooled(graph, value, shapes[value], sample_size)
        else:
            yield value, _Whole(value, sample_size)


def _pooled(
    graph: onnx.GraphProto, value: str, shape: tuple[int, int, int], sample_size: int
) -> _Probe:
    step = _step(shape, sample_size)
    if step is None and sample_size:
        return _Whole(value, sample_size)
    prefix = f"{value}/furiosa"
    peaks = helper.make_node("GlobalMaxPool", [value], [f"{prefix}/peaks"])
    graph.node.append(peaks)
    if step is None:
        return _Pooled(peaks.output[0], None, sample_size)
    # A filter that picks the second pixel of the second row of each window: the first ones, which
    # padding has touched, are no more typical than the others.
    picks = np.zeros((shape[0], 1, 2, 2), np.float32)
    picks[:, :, 1, 1] = 1
    weight = numpy_helper.from_array(picks, f"{prefix}/picks")
    pixels = helper.make_node(
        "Conv", [value, weight.name], [f"{prefix}/pixels"], strides=[step] * 2, group=shape[0]
    )
    graph.initializer.append(weight)
    graph.node.append(pixels)
    return _Pooled(peaks.output[0], pixels.output[0], sample_size)


def _step(shape: tuple[int, int, int], sample_size: int) -> int | None:
    """Every how many-th row and column makes about `sample_size` numbers; None for a small image.

    No multiple of two, nor of three but for itself: upsampling leaves patterns of these periods.
    """
    channels, height, width = shape
    largest = min(height, width) // FEWEST_STEPS
    steps = [n for n in range(3, largest + 1) if n % 2 and (n == 3 or n % 3)]
    enough = (n for n in steps if channels * (height // n) * (width // n) <= sample_size)
    return next(enough, steps[-1]) if steps else None


def _nonnegative(graph: onnx.GraphProto) -> set[str]:
    """Values that cannot be below zero and that ONNX Runtime holds in blocks of channels."""
    constants = {tensor.name: tensor for tensor in graph.initializer}

    def bounded(node: onnx.NodeProto) -> bool:
        if node.op_type != "Clip" or len(node.input) < 2 or node.input[1] not in constants:
            return node.op_type in ("Relu", "Sigmoid")
        return bool(numpy_helper.to_array(constants[node.input[1]]) >= 0)

    return {node.output[0] for node in graph.node if bounded(node)}


def _image_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, int, int]]:
    """Channels, height and width of the float32 images of known size."""
    found = {}
    for value in graph.value_info:
        kind = value.type.tensor_type
        dims = tuple(dim.dim_value for dim in kind.shape.dim[1:])
        if kind.elem_type == onnx.TensorProto.FLOAT and len(dims) == 3 and all(dims):
            found[value.name] = dims
    return found


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, len(os.sched_getaffinity(0)) // AT_ONCE)
    options.log_severity_level = 3
    return options

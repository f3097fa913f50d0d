"""What the accuracy methods need to know of activations, gathered while samples pass by."""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np
import onnx
import onnxruntime as ort

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.samples import Array, Feed
from furiosa_ep.quantization.weights import Floats

SAMPLES = 64
"""So many samples tell enough of means and products."""


def channel_maxima(
    model: onnx.ModelProto,
    axes: Mapping[str, int],
    samples: Iterable[Feed],
    *,
    limit: int = SAMPLES,
) -> dict[str, Floats]:
    """The greatest magnitudes of each channel of some values, over at most `limit` samples.

    `axes` names the axis of the channels of each value. A value that is empty in all samples is
    left out.

    Raises:
        QuantizationError: where the model does not take a sample.
    """
    found: dict[str, Floats] = {}
    for arrays in _runs(model, list(axes), samples, limit):
        for name, array in arrays.items():
            if not array.size:
                continue
            axis = axes[name] % array.ndim
            others = tuple(i for i in range(array.ndim) if i != axis)
            peaks = np.maximum(array.max(others), -array.min(others))
            found[name] = np.maximum(found[name], peaks) if name in found else peaks
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
    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    augmented.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in outputs if name not in present
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    return ort.InferenceSession(
        augmented.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

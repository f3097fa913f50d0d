"""PeakNormalize in NumPy: what the CPU computes, and what defines the result of the kernel."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from furiosa_ep.plugin import KernelCase, KernelFrame, random_tensor

Floats = npt.NDArray[np.float32]


def peak_normalize(x: Floats, peak: float) -> Floats:
    """Scale to x / max|x| * peak along the last axis; a row of zeros stays as it is."""
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    result: Floats = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)
    result *= np.float32(peak)
    return result


def compute(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Floats:
    """The operator on the CPU."""
    return peak_normalize(inputs[0], attributes.get("peak", 1.0))


def reference(frame: KernelFrame) -> None:
    """The kernel: from an 8-bit tensor to another one, with the floats of the CPU in between."""
    x, y = frame.inputs[0], frame.output
    if x is None:
        raise ValueError("x is missing")
    y.array[...] = y.quantized(peak_normalize(x.dequantized(), frame.attributes["peak"]))


def cases(size: int, random: np.random.Generator) -> Iterator[KernelCase]:
    """Calls with sizes around a number, for `furiosa plugins check`."""
    for shape in ((size,), (3, size), (size, 2, 5)):
        x, y = random_tensor(random, shape), random_tensor(random, shape)
        yield KernelCase([x], y, {"peak": random.uniform(-2, 2)})

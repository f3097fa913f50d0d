"""A task: a float model, samples to calibrate on, other samples to judge by, and a figure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

Array: TypeAlias = npt.NDArray[Any]
Feed: TypeAlias = dict[str, Array]
Outputs: TypeAlias = list[Array]
"""The outputs of a model in their order, those of all samples joined along the first axis."""


@dataclass(frozen=True)
class Figure:
    """A figure of a model's outputs; more is better."""

    name: str
    """With its unit."""
    score: Callable[[Outputs, Outputs], float]
    """The figure, given the float model's outputs on the same samples as well."""
    allowed: float | None = None
    """How far a quantized model may be below the float model; None where nothing is demanded."""
    absolute: bool = False
    """Whether it tells how good the float model is, as labels do. Likeness to it does not."""


@dataclass(frozen=True)
class Task:
    """What a quantized model is measured by. Calibration and test have no image in common."""

    name: str
    figures: Sequence[Figure]
    model: Callable[[], onnx.ModelProto]
    calibration: Callable[[], Iterable[Feed]]
    test: Callable[[], Iterable[Feed]]
    parts: Callable[[Outputs], Sequence[Array]] = list
    """What the noise is measured of, each relative to its own power."""
    hard: bool = False
    """Whether it is made to be hard, and judged by how much more min-max loses."""


def noise(task: Task, outputs: Outputs, reference: Outputs) -> float:
    """The mean squared error relative to the mean square of `reference`, averaged over parts."""
    pairs = zip(task.parts(outputs), task.parts(reference), strict=True)
    return float(np.mean([_relative(part, expected) for part, expected in pairs]))


def _relative(part: Array, expected: Array) -> float:
    wanted = expected.astype(np.float64)
    power = np.mean(np.square(wanted))
    return float(np.mean(np.square(part - wanted)) / power) if power else 0.0


def decibels(relative_noise: float) -> float:
    """The ratio of signal to noise."""
    return -10 * float(np.log10(max(relative_noise, 1e-30)))


def top1(labels: Array) -> Figure:
    """The share of samples whose largest output is the labelled one."""

    def score(outputs: Outputs, _: Outputs) -> float:
        return 100 * float(np.mean(best(outputs) == labels))

    return Figure("top-1 %", score, allowed=0.3, absolute=True)


def agreement(outputs: Outputs, reference: Outputs) -> float:
    """The share of samples whose largest output is the float model's largest, in percent."""
    return 100 * float(np.mean(best(outputs) == best(reference)))


def best(outputs: Outputs) -> Array:
    """The class of each sample."""
    classes: Array = outputs[0].reshape(len(outputs[0]), -1).argmax(axis=1)
    return classes


def psnr(outputs: Outputs, reference: Outputs) -> float:
    """Peak signal-to-noise ratio to the float model's image of 0 to 1, in dB."""
    error = np.mean(np.square(outputs[0].astype(np.float64) - reference[0]))
    return decibels(float(error))

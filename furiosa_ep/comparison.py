"""Compare the outputs of two runs of a model bit by bit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """The first place where an output differs from the expected one."""

    output: str
    index: tuple[int, ...]
    """Empty where dtype or shape differ, or for a scalar."""
    expected: str
    """What the CPU provider computed there."""
    actual: str
    count: int = 1
    """How many elements differ."""
    largest: float | None = None
    """The largest absolute difference, where there is one."""

    def __str__(self) -> str:
        where = f"output {self.output!r}" + (f" at {list(self.index)}" if self.index else "")
        text = f"{where}: {self.actual}, the CPU provider gives {self.expected}"
        if self.count > 1:
            text += f" ({self.count} elements differ"
            text += ")" if self.largest is None else f", by up to {self.largest:g})"
        return text


def first_difference(output: str, expected: Any, actual: Any) -> Difference | None:
    """Where two values of an output differ first in row-major order, or None.

    Equal means of the same type, shape and bits: zeros of both signs differ, and a NaN equals a NaN
    of the same bits.
    """
    if not isinstance(expected, np.ndarray) or not isinstance(actual, np.ndarray):
        same = type(expected) is type(actual) and bool(np.all(expected == actual))
        return None if same else Difference(output, (), repr(expected), repr(actual))
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return Difference(output, (), _kind(expected), _kind(actual))
    differs = _bits(expected) != _bits(actual)
    if not differs.any():
        return None
    first = int(np.argmax(differs.reshape(-1)))
    index = tuple(int(i) for i in np.unravel_index(first, differs.shape))
    return Difference(
        output,
        index,
        repr(expected.item(*index)),
        repr(actual.item(*index)),
        int(np.count_nonzero(differs)),
        _largest(expected, actual),
    )


def _kind(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _bits(array: Array) -> Array:
    if array.dtype == object or array.dtype.itemsize not in (1, 2, 4, 8):
        return array
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)


def _largest(expected: Array, actual: Array) -> float | None:
    if expected.dtype.kind not in "biuf":
        return None
    with np.errstate(all="ignore"):
        return float(np.nanmax(np.abs(expected.astype(np.float64) - actual.astype(np.float64))))


def differences(
    names: Sequence[str], expected: Sequence[Any], actual: Sequence[Any]
) -> list[Difference]:
    """The first difference of each output that has one."""
    found = (first_difference(*item) for item in zip(names, expected, actual, strict=True))
    return [difference for difference in found if difference is not None]


def input_shapes(feed: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells the shapes of one run from another's."""
    return tuple((name, np.shape(value)) for name, value in sorted(feed.items()))

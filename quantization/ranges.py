"""The ranges of a model's activations: found once, kept as JSON, edited, and used again."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from furiosa_ep.quantization.errors import QuantizationError

STEPS = 255
"""Between the lowest and the highest of the numbers that 8 bits tell apart."""


class Range(NamedTuple):
    """The numbers that an activation has to hold; zero is always among them."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """From the lowest to the highest number."""
        return self.high - self.low

    @property
    def step(self) -> float:
        """Between neighbours among the numbers that 8 bits tell apart."""
        return self.width / STEPS


def save_ranges(ranges: Mapping[str, Sequence[float]], path: str | Path) -> None:
    """Write ranges as a JSON object from name to [low, high], which people may edit.

    Raises:
        QuantizationError: for something else than ranges.
    """
    text = json.dumps(check_ranges(ranges), indent=2, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def load_ranges(path: str | Path) -> dict[str, Range]:
    """Read what `save_ranges` has written, or any other JSON object of that form.

    Raises:
        QuantizationError: where there is no such file, or something else in it.
    """
    try:
        found: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QuantizationError(f"cannot read the ranges in {path}: {error}") from error
    if not isinstance(found, dict):
        raise QuantizationError(f"{path}: expected an object from name to [low, high]")
    return check_ranges(found)


def merge_ranges(*ranges: Mapping[str, Sequence[float]]) -> dict[str, Range]:
    """Ranges that hold all of the given ones, name by name.

    Raises:
        QuantizationError: for something else than ranges.
    """
    merged: dict[str, Range] = {}
    for name, found in (item for one in ranges for item in check_ranges(one).items()):
        known = merged.get(name, found)
        merged[name] = Range(min(known.low, found.low), max(known.high, found.high))
    return merged


def check_ranges(ranges: Mapping[str, Sequence[float]]) -> dict[str, Range]:
    """The ranges, with zero in each.

    Raises:
        QuantizationError: where one is not two finite numbers, the lower one first.
    """
    return {name: _range(name, found) for name, found in ranges.items()}


def _range(name: str, found: Sequence[float]) -> Range:
    try:
        low, high = (float(number) for number in found)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise QuantizationError(
            f"the range of {name!r} is {found!r}: expected two finite numbers, the lower one first"
        )
    return Range(min(low, 0.0), max(high, 0.0))

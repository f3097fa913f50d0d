"""Named ways to quantize."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from furiosa_ep.partitioner.descriptors import Calibrator
from furiosa_ep.quantization.errors import QuantizationError


@dataclass(frozen=True)
class Preset:
    """How values are held after quantization. Weights are int8 in every preset."""

    activation: Literal["uint8", "int8"] = "uint8"
    """The type of activations; either with any zero point."""
    per_channel: bool = True
    """One weight scale per output channel instead of one per weight tensor."""
    calibration: str | Calibrator = "extremes"
    """How the ranges of activations are found: a calibrator or its name (docs/quantization.md)."""


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset(),
        "average": Preset(calibration="average"),
        "int8": Preset(activation="int8"),
        "per-tensor": Preset(per_channel=False),
    }
)
"""The presets that `quantize_model` knows by name."""


def find_preset(preset: str | Preset) -> Preset:
    """The preset of that name, or the given one; raises `QuantizationError` for another name."""
    if isinstance(preset, Preset):
        return preset
    try:
        return PRESETS[preset]
    except KeyError:
        raise QuantizationError(
            f"preset {preset!r}: expected one of {', '.join(PRESETS)}, or a Preset"
        ) from None

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
    calibration: str | Calibrator = "mse"
    """How the ranges of activations are found: a calibrator or its name (docs/quantization.md)."""
    equalize: bool = True
    """Make channels of activations alike, by scales between layers (`accuracy.equalisation`)."""
    limit_to_functions: bool = True
    """Leave out of ranges what makes no difference to the only function that reads a value
    (`accuracy.saturation`)."""
    smooth: bool = True
    """Make channels of what norms compute alike (`accuracy.smoothing`)."""
    search_weights: bool = True
    """Search the range of each channel's weights that loses least (`accuracy.weight_ranges`)."""
    adapt_rounding: bool = True
    """Round weights such that the outputs of layers lose least (`accuracy.rounding`)."""
    correct_bias: bool = True
    """Take the average error of outputs off the biases (`accuracy.bias_correction`)."""
    search: bool = False
    """Try other calibrators and to do without each method, and keep what loses least."""


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset(),
        "best": Preset(search=True),
        "int8": Preset(activation="int8"),
        "per-tensor": Preset(per_channel=False),
        "min-max": Preset(
            calibration="extremes",
            limit_to_functions=False,
            equalize=False,
            smooth=False,
            search_weights=False,
            adapt_rounding=False,
            correct_bias=False,
        ),
    }
)
"""The presets that `quantize_model` knows by name: `default`; `best`, which measures what else is
better and takes ten times as long; `default` with other types; and `min-max`, which does nothing
for accuracy and is the fastest."""


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

"""Why a layer loses accuracy, and what to do about it."""

import enum
from dataclasses import dataclass


class Cause(enum.StrEnum):
    """What costs a layer most: the closed set that tools can rely on."""

    NONE = "none"
    WIDE = "wide"
    CLIPPED = "clipped"
    CHANNELS = "channels"
    WEIGHTS = "weights"
    BIAS = "bias"
    SENSITIVE = "sensitive"
    INHERITED = "inherited"


GOOD = 30.0
"""Signal to noise in dB from which a layer has little to lose: 3 % of what its values are."""
HARMLESS = 40.0
"""Signal to noise of the outputs from which a layer does no harm, whatever its own value loses:
calibration leaves out of ranges what the next operator does not tell apart."""
POOR = 20.0
"""Signal to noise below which a value has lost what matters: 10 % of what it is."""
LARGE = 0.1
"""The part of all that is lost from which a layer is worth attending to, however good it is."""
UNUSED = 0.5
"""Below this share, the range is wide whatever the numbers in it."""
APART = 8.0
"""How many times as large the largest channel must be as the median one to be a cause."""


@dataclass(frozen=True)
class Evidence:
    """What the cause is told from."""

    share: float
    """The part of all that is lost."""
    output_db: float | None
    """What it leaves of the outputs by itself."""
    accumulated_db: float
    local_db: float
    rounding: float
    clipping: float
    weights: float
    """Powers, in the same unit."""
    outside: float
    """The share of the numbers beyond the range."""
    reach: float
    """What the float model computes, as a share of what the 8 bits hold."""
    typical_steps: float
    channel_spread: float
    full_biases: int
    """How many biases are at the end of int32."""
    upstream: str
    """The worst of the layers before it; "" for none."""
    per_channel: bool | None
    """Whether its weights have a scale for each channel; None where it has none in 8 bits."""

    @property
    def harmless(self) -> bool:
        """Whether the outputs hardly notice it."""
        return self.output_db is not None and self.output_db >= HARMLESS

    @property
    def has_weights(self) -> bool:
        """Whether it has constants in 8 bits."""
        return self.per_channel is not None

    @property
    def largest(self) -> Cause:
        """What costs most of the layer's own loss."""
        parts = {
            Cause.CLIPPED: self.clipping,
            Cause.WEIGHTS: self.weights,
            Cause.WIDE: self.rounding,
        }
        return max(parts, key=lambda cause: parts[cause])


def cause_of(found: Evidence) -> Cause:
    """The one that is most worth attending to."""
    if found.full_biases:
        return Cause.BIAS
    if found.local_db < GOOD and not found.harmless:
        apart = found.largest is Cause.WIDE and found.channel_spread >= APART
        return Cause.CHANNELS if apart else found.largest
    if found.share >= LARGE and (found.output_db is None or found.output_db < GOOD):
        wide = found.largest is Cause.WIDE and found.reach < UNUSED
        return Cause.WIDE if wide else Cause.SENSITIVE
    return Cause.INHERITED if found.accumulated_db < POOR else Cause.NONE


def advice_for(cause: Cause, found: Evidence) -> str:
    """What to do, in a sentence or two that name options of `quantize_model`."""
    match cause:
        case Cause.BIAS:
            return (
                f"{found.full_biases} of its biases do not fit int32, because the scales of input "
                "and weights are too small for them. Keep it in float with keep_float, or give its "
                "input a wider range with ranges."
            )
        case Cause.CLIPPED:
            return (
                f"{100 * found.outside:.2g} % of its numbers lie beyond the range and are cut off. "
                'Calibrate with calibration="extremes" or with more samples, or widen its range in '
                "ranges."
            )
        case Cause.CHANNELS:
            mend = (
                "equalize=True evens them out where the layers beside it allow that; otherwise keep"
            )
            mend = mend if found.has_weights else "Keep"
            return (
                f"One channel reaches {found.channel_spread:.0f} times as far as the median one, "
                f"and the others share what few steps are left. {mend} the layer in float with "
                "keep_float."
            )
        case Cause.SENSITIVE:
            return (
                "It loses little by itself, but the outputs depend on it more than on others. "
                f"{_BETTER[found.largest]}, or keep it in float with keep_float."
            )
        case Cause.WIDE:
            return (
                f"Its range is wide for what is in it: float reaches {found.reach:.0%} of it, and "
                f"numbers are typically {found.typical_steps:.1f} steps from zero. Calibrate with "
                'calibration="mse" or "percentile", narrow its range in ranges, or keep it in '
                "float with keep_float."
            )
        case Cause.WEIGHTS:
            return _about_weights(found)
        case Cause.INHERITED:
            upstream = f", first of all {found.upstream!r}" if found.upstream else ""
            return f"It loses little by itself: mend the layers before it{upstream}."
        case _ if found.local_db < GOOD:
            return "Its value loses something, but hardly anything that the outputs notice."
        case _:
            return "It loses no more than 8 bits must."


_BETTER = {
    Cause.CLIPPED: "Widen its range in ranges",
    Cause.WEIGHTS: "Quantize with adapt_rounding=True",
    Cause.WIDE: 'Calibrate with calibration="mse"',
}


def _about_weights(found: Evidence) -> str:
    if found.per_channel is None:
        return (
            "What it computes in integers or tables differs from float. Keep it in float with "
            "keep_float if that matters."
        )
    if not found.per_channel:
        return (
            "Its weights share one scale, which is too coarse for some channels. Give each channel "
            "its own with per_channel=True."
        )
    return (
        "Rounding its weights costs most. adapt_rounding=True and search_weights=True choose "
        "better ones; where they have, more and other samples may help, or keep the layer in float "
        "with keep_float."
    )

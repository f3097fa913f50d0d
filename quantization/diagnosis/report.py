"""What a diagnosis has found: per layer and output, as table, JSON and page."""

import dataclasses
import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from furiosa_ep.quantization.diagnosis.causes import Cause


@dataclass(frozen=True)
class LayerDiagnosis:
    """One 8-bit value of a quantized model, and the layer that computes it.

    Ratios of signal to noise are in dB, 100 at most; 10 dB more is a tenth of the noise.
    """

    value: str
    """Its name in the float model."""
    node: str
    """The name of the operator that computes it; "" where it has none, or for an input."""
    op_type: str
    """The operator; "Input" for an input of the model."""
    shape: tuple[int, ...]
    """In the last sample."""
    scale: float
    zero_point: int
    low: float
    high: float
    """What its 8 bits hold."""
    seen_low: float
    seen_high: float
    """What the float model has computed."""
    accumulated_db: float
    """What is left of the float value after all that lies before it is quantized as well."""
    local_db: float
    """What would be left if this layer alone were quantized."""
    output_db: float | None
    """What would be left of the outputs if this layer alone were quantized; None where the model
    has no float outputs."""
    share: float
    """Its part of what the outputs lose, or of what all layers lose where the model has none."""
    weights_db: float | None
    """What would be left if only its constants were quantized; None for a layer without any."""
    clipped: float
    """The share of the numbers that lie beyond the range."""
    steps_used: float
    """The share of the 256 integers that occur."""
    typical_steps: float
    """The root mean square of the numbers, in steps of the scale."""
    channel_spread: float
    """How many times as far as the median channel the largest one reaches."""
    rescaled: bool
    """Whether its channels are held scaled, as cross-layer equalisation does."""
    cause: Cause
    advice: str
    bars: tuple[float, ...]
    """Its histogram: shares of the numbers in equal parts of `bars_low` to `bars_high`."""
    bars_low: float
    bars_high: float


@dataclass(frozen=True)
class OutputDiagnosis:
    """What became of one output."""

    name: str
    db: float | None
    """Signal to noise; None for integers."""
    agreement: float | None
    """How often the largest of a row of scores, or an integer, is the float model's; None for an
    output that is no row of scores."""


@dataclass(frozen=True)
class Diagnosis:
    """Where a quantized model loses accuracy."""

    layers: tuple[LayerDiagnosis, ...]
    """In the order of the quantized model."""
    outputs: tuple[OutputDiagnosis, ...]
    samples: int
    unpaired: tuple[str, ...]
    """8-bit values of which the float model has no like."""

    def worst(self, top: int | None = None) -> tuple[LayerDiagnosis, ...]:
        """The layers that lose most, the worst first."""
        ranked = sorted(self.layers, key=lambda layer: (-layer.share, layer.local_db))
        return tuple(ranked[:top])

    def to_json(self) -> str:
        """The diagnosis as a JSON object; docs/quantization.md describes its keys."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def to_html(self, title: str = "") -> str:
        """The diagnosis as a page that needs nothing beside itself."""
        from furiosa_ep.quantization.diagnosis.page import page_of

        return page_of(self, title)

    def table(self, top: int | None = 10) -> str:
        """The worst layers as text, and what to do about each."""
        heads = ("layer", "operator", "share", "output", "alone", "so far", "clipped", "cause")
        ranked = self.worst(top)
        rows = [heads, *(_row(layer) for layer in ranked)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        lines = []
        for row in rows:
            cells = [
                f"{cell:<{width}}" if column in (0, 1, 7) else f"{cell:>{width}}"
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        for advice, layers in _advised(ranked).items():
            names = ", ".join(shortened(label(layer)) for layer in layers)
            lines += ["", *textwrap.wrap(names, 100), *textwrap.wrap(advice, 96, **_INDENTED)]
        lines += ["", *(_output_line(output) for output in self.outputs)]
        left = len(self.layers) - len(ranked)
        lines.append(
            f"{len(self.layers)} layers, {self.samples} samples; ratios are dB of signal to noise"
            + (f"; {left} more lose less" if left else "")
        )
        if self.unpaired:
            lines.append(f"not compared, for want of a float value: {', '.join(self.unpaired)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


_INDENTED: Any = {"initial_indent": "    ", "subsequent_indent": "    "}


def _advised(layers: Iterable[LayerDiagnosis]) -> dict[str, list[LayerDiagnosis]]:
    """The layers that have something to mend in themselves, by what to do about them."""
    found: dict[str, list[LayerDiagnosis]] = {}
    for layer in layers:
        if layer.cause not in (Cause.NONE, Cause.INHERITED):
            found.setdefault(layer.advice, []).append(layer)
    return found


def label(layer: LayerDiagnosis) -> str:
    """How people find a layer."""
    return layer.node or layer.value


def _row(layer: LayerDiagnosis) -> tuple[str, ...]:
    output = "" if layer.output_db is None else f"{layer.output_db:.1f}"
    return (
        shortened(label(layer)),
        layer.op_type,
        f"{layer.share:.1%}",
        output,
        f"{layer.local_db:.1f}",
        f"{layer.accumulated_db:.1f}",
        f"{layer.clipped:.2%}",
        layer.cause.value,
    )


def shortened(text: str, length: int = 44) -> str:
    """Long names keep their end, by which they differ."""
    return text if len(text) <= length else "…" + text[1 - length :]


def _output_line(output: OutputDiagnosis) -> str:
    found = []
    if output.db is not None:
        found.append(f"{output.db:.1f} dB")
    if output.agreement is not None:
        found.append(f"{output.agreement:.1%} agree with the float model")
    return f"output {output.name!r}: {', '.join(found) or 'not compared'}"

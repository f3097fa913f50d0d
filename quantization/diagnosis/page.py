"""A diagnosis as one HTML page: no network, no scripts but its own, readable without these too."""

import math
from collections.abc import Iterator
from html import escape

from furiosa_ep.page import document, resource
from furiosa_ep.quantization.diagnosis.causes import Cause
from furiosa_ep.quantization.diagnosis.measures import LIMIT
from furiosa_ep.quantization.diagnosis.report import (
    Diagnosis,
    LayerDiagnosis,
    OutputDiagnosis,
    label,
)

FULL = 60.0
"""Signal to noise in dB at which a bar of the chart is full."""
GRADES = ((30.0, "good"), (20.0, "fair"), (-math.inf, "poor"))
"""From which signal to noise on what is called so."""

CAUSES = {
    Cause.NONE: "nothing to mend",
    Cause.WIDE: "range too wide",
    Cause.CLIPPED: "clipped",
    Cause.CHANNELS: "channels apart",
    Cause.WEIGHTS: "weights",
    Cause.BIAS: "bias saturated",
    Cause.SENSITIVE: "sensitive",
    Cause.INHERITED: "inherited",
}
COLUMNS = (
    ("Layer", "text", ""),
    ("Operator", "text", ""),
    ("Share of loss", "number", "its part of what the outputs lose"),
    ("At outputs", "number", "dB left at the outputs if this layer alone is quantized"),
    ("Alone", "number", "dB left of its own value if this layer alone is quantized"),
    ("So far", "number", "dB left of its value with all before it quantized"),
    ("Clipped", "number", "numbers beyond the range"),
    ("Cause", "text", ""),
)
_WIDTH, _HEIGHT = 320, 110
"""Of a histogram, in pixels of its own."""


def page_of(diagnosis: Diagnosis, title: str) -> str:
    """The page; whatever it shows of the models is escaped."""
    ranked = diagnosis.worst()
    numbers = {id(layer): number for number, layer in enumerate(diagnosis.layers)}
    return document(
        "Quantization diagnosis",
        title or "Quantization",
        _about(diagnosis),
        _main(diagnosis, ranked, numbers),
        styles=resource(__package__, "page.css"),
        script=resource(__package__, "page.js"),
    )


def _main(diagnosis: Diagnosis, ranked: tuple[LayerDiagnosis, ...], numbers: dict[int, int]) -> str:
    return f"""<section class="tiles" aria-label="Outputs">
{_joined(_tiles(diagnosis, ranked, numbers))}
</section>
<section class="along">
<h2>Along the network</h2>
<p class="hint">Each bar is a layer, from input to output: what is left of its value, in dB of
signal to noise. The mark is what would be left if that layer alone were quantized; layers that lose
nothing by themselves have none.</p>
{_chart(diagnosis)}
</section>
<div class="columns">
<section class="ranking" id="layers">
<div class="heading"><h2>Layers, worst first</h2>
<input type="search" id="filter" placeholder="Filter" aria-label="Filter layers" hidden></div>
{_table(ranked, numbers)}
</section>
<section class="details" aria-live="polite">
{_joined(_detail(layer, number, diagnosis) for number, layer in enumerate(diagnosis.layers))}
</section>
</div>
{_unpaired(diagnosis)}"""


def _joined(parts: Iterator[str]) -> str:
    return "\n".join(parts)


def _grade(db: float) -> str:
    return next(name for least, name in GRADES if db >= least)


def _about(diagnosis: Diagnosis) -> str:
    plural = "" if diagnosis.samples == 1 else "s"
    return (
        f"{len(diagnosis.layers)} layers in 8 bits, compared with the float model on "
        f"{diagnosis.samples} sample{plural}. 10 dB more is a tenth of the noise: 40 dB is 1 % of "
        "the value, 20 dB is 10 %."
    )


def _tiles(
    diagnosis: Diagnosis, ranked: tuple[LayerDiagnosis, ...], numbers: dict[int, int]
) -> Iterator[str]:
    for output in diagnosis.outputs:
        yield _output_tile(output)
    if ranked and ranked[0].share:
        worst = ranked[0]
        yield (
            f'<a class="tile" href="#layer-{numbers[id(worst)]}"><span class="what">Loses most'
            f'</span><span class="figure">{worst.share:.0%}</span><span class="note">'
            f"{escape(label(worst))}</span></a>"
        )


def _output_tile(output: OutputDiagnosis) -> str:
    grade, figure, note = "", "–", ""
    if output.db is not None:
        grade, figure = _grade(output.db), f"{output.db:.1f} <small>dB</small>"
    if output.agreement is not None:
        note = f"{output.agreement:.1%} agree with float"
        if output.db is None:
            figure, note = f"{output.agreement:.1%}", "equal to float"
    return (
        f'<div class="tile {grade}"><span class="what">Output: {escape(output.name)}</span>'
        f'<span class="figure">{figure}</span><span class="note">{note}</span></div>'
    )


def _chart(diagnosis: Diagnosis) -> str:
    bars = "".join(
        f'<a class="bar {_grade(layer.accumulated_db)}{_lossless(layer)}" href="#layer-{number}" '
        f'data-layer="{number}" style="--so-far:{_height(layer.accumulated_db)}%;'
        f'--alone:{_height(layer.local_db)}%" '
        f'title="{escape(label(layer))}: {layer.accumulated_db:.1f} dB so far, '
        f'{layer.local_db:.1f} dB alone"></a>'
        for number, layer in enumerate(diagnosis.layers)
    )
    lines = "".join(
        f'<i style="bottom:{_height(db)}%"><b>{db}</b></i>' for db in range(0, int(FULL) + 1, 20)
    )
    return (
        f'<div class="chart"><div class="grid" aria-hidden="true">{lines}</div>'
        f'<div class="bars" id="bars">{bars}</div></div>\n'
        '<p class="legend"><span class="good">30 dB and more</span>'
        '<span class="fair">20 to 30 dB</span><span class="poor">below 20 dB</span>'
        '<span class="mark">alone</span></p>'
    )


def _lossless(layer: LayerDiagnosis) -> str:
    return " lossless" if layer.local_db >= LIMIT else ""


def _height(db: float) -> str:
    return f"{100 * min(max(db, 0.0), FULL) / FULL:.4g}"


def _table(ranked: tuple[LayerDiagnosis, ...], numbers: dict[int, int]) -> str:
    heads = "".join(
        f'<th scope="col" class="{kind}" data-kind="{kind}"'
        + (f' title="{escape(about)}"' if about else "")
        + f">{name}</th>"
        for name, kind, about in COLUMNS
    )
    most = ranked[0].share
    rows = "\n".join(_table_row(layer, numbers[id(layer)], most) for layer in ranked)
    return (
        f'<div class="scroll"><table id="table"><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _table_row(layer: LayerDiagnosis, number: int, most: float) -> str:
    def cell(value: float, text: str, kind: str = "") -> str:
        return f'<td class="number {kind}" data-value="{value:.6g}">{text}</td>'

    at_outputs = -math.inf if layer.output_db is None else layer.output_db
    return (
        f'<tr data-layer="{number}"><td class="name"><a href="#layer-{number}">'
        f"{escape(label(layer))}</a></td><td>{escape(layer.op_type)}</td>"
        f'<td class="number share" data-value="{layer.share:.6g}" '
        f'style="--share:{100 * layer.share / (most or 1):.4g}%">{layer.share:.1%}</td>'
        + cell(at_outputs, "" if layer.output_db is None else f"{layer.output_db:.1f}")
        + cell(layer.local_db, f"{layer.local_db:.1f}")
        + cell(layer.accumulated_db, f"{layer.accumulated_db:.1f}", _grade(layer.accumulated_db))
        + cell(layer.clipped, f"{layer.clipped:.2%}")
        + f'<td><span class="cause {layer.cause}">{CAUSES[layer.cause]}</span></td></tr>'
    )


def _detail(layer: LayerDiagnosis, number: int, diagnosis: Diagnosis) -> str:
    first = " worst" if layer is diagnosis.worst(1)[0] else ""
    figures = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _figures(layer)
    )
    shape = " × ".join(map(str, layer.shape)) or "scalar"
    return f"""<article class="layer{first}" id="layer-{number}">
<h3>{escape(label(layer))}</h3>
<p class="kind">{escape(layer.op_type)} · {shape} · value {escape(layer.value)}</p>
<p><span class="cause {layer.cause}">{CAUSES[layer.cause]}</span></p>
<p class="advice">{escape(layer.advice)}</p>
{_histogram(layer)}
<dl>{figures}</dl>
<p class="back"><a href="#layers">All layers</a></p>
</article>"""


def _figures(layer: LayerDiagnosis) -> Iterator[tuple[str, str]]:
    yield "Share of loss", f"{layer.share:.1%}"
    if layer.output_db is not None:
        yield "Left at the outputs, alone", f"{layer.output_db:.1f} dB"
    yield "Left of it, alone", f"{layer.local_db:.1f} dB"
    yield "Left of it, so far", f"{layer.accumulated_db:.1f} dB"
    if layer.weights_db is not None:
        yield "Left with its weights alone", f"{layer.weights_db:.1f} dB"
    yield "8 bits hold", f"{layer.low:.4g} to {layer.high:.4g}"
    yield "Float computes", f"{layer.seen_low:.4g} to {layer.seen_high:.4g}"
    yield "Clipped", f"{layer.clipped:.3%}"
    yield "Steps in use", f"{layer.steps_used:.0%} of 256"
    yield "Typical number", f"{layer.typical_steps:.1f} steps"
    yield "Largest channel", f"{layer.channel_spread:.1f} × the median"
    yield "Scale, zero point", f"{layer.scale:.4g}, {layer.zero_point}"
    if layer.rescaled:
        yield "Channels", "scaled against float"


def _histogram(layer: LayerDiagnosis) -> str:
    """Logarithmic bars, with the range of the 8 bits behind them."""
    low, high = layer.bars_low, layer.bars_high
    if not any(layer.bars) or high <= low:
        return '<p class="hint">Every number is zero.</p>'

    def x(number: float) -> float:
        return _WIDTH * (number - low) / (high - low)

    floor = min(share for share in layer.bars if share) / 2
    span = math.log(max(layer.bars) / floor)
    width = _WIDTH / len(layer.bars)
    inside: list[str] = []
    outside: list[str] = []
    for index, share in enumerate(layer.bars):
        if share:
            height = _HEIGHT * math.log(share / floor) / span
            center = low + (high - low) * (index + 0.5) / len(layer.bars)
            bar = f"M{index * width:.4g} {_HEIGHT}v{-height:.4g}h{width * 0.86:.4g}v{height:.4g}z"
            (inside if layer.low <= center <= layer.high else outside).append(bar)
    left, right = x(layer.low), x(layer.high)
    names = ((layer.low, "start", left), (layer.high, "end", right))
    ends = "".join(
        f'<text x="{min(max(at, 0), _WIDTH):.4g}" y="{_HEIGHT + 14}" text-anchor="{anchor}">'
        f"{number:.3g}</text>"
        for number, anchor, at in names
    )
    return (
        f'<svg viewBox="0 -4 {_WIDTH} {_HEIGHT + 22}" role="img" aria-label="Histogram">'
        f'<rect class="range" x="{left:.4g}" y="-4" width="{max(right - left, 1):.4g}" '
        f'height="{_HEIGHT + 4}"/>'
        f'<path class="inside" d="{"".join(inside)}"/>'
        f'<path class="outside" d="{"".join(outside)}"/>'
        f'<path class="zero" d="M{x(0.0):.4g} -4V{_HEIGHT}"/>'
        f'<path class="ends" d="M{left:.4g} -4V{_HEIGHT + 2}M{right:.4g} -4V{_HEIGHT + 2}"/>'
        f"{ends}</svg>"
        '<p class="hint">Numbers of the float model, on a logarithmic scale; shaded is what the 8 '
        "bits hold.</p>"
    )


def _unpaired(diagnosis: Diagnosis) -> str:
    if not diagnosis.unpaired:
        return ""
    names = ", ".join(escape(name) for name in diagnosis.unpaired)
    return f'<p class="hint">Not compared, for want of a float value: {names}</p>'

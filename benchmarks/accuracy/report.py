"""What was measured as tables, in docs/quantization.md, and as JSON."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.accuracy.measure import Measured, Row
from benchmarks.accuracy.quantizers import CALIBRATORS, PLAIN
from benchmarks.accuracy.tasks import Figure

BEGIN = "<!-- Written by `python -m benchmarks.accuracy --write`. -->"
HARD_BAR = 0.1
"""The share of the noise of ONNX Runtime's min-max that a preset may have in a hard case."""
END = "<!-- End of what benchmarks.accuracy writes. -->"


def tables(rows: Sequence[Row]) -> str:
    """Accuracy on trained models, what hard cases lose, and what is wrong, in Markdown."""
    hard = [row for row in rows if row.task.hard]
    trained = [row for row in rows if not row.task.hard]
    found = [table(of) for table, of in ((_trained, trained), (_hard, hard)) if of]
    if trouble := [line for row in rows for line in _trouble(row)]:
        found.append("\n".join(f"- {line}" for line in trouble))
    return "\n\n".join(found)


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(result.quantizer for row in rows for result in row.results))


def _trained(rows: Sequence[Row]) -> str:
    names = _names(rows)
    lines = [["task", "figure", *names]]
    for row in rows:
        for number, figure in enumerate(row.task.figures):
            cells = [_cell(row.find(name), figure, number == 0) for name in names]
            lines.append(["" if number else row.task.name, figure.name, *cells])
    return _table(lines, 2)


def _hard(rows: Sequence[Row]) -> str:
    names = [name for name in _names(rows) if name != "float"]
    presets = set(names) - {"ORT MinMax", PLAIN}
    lines = [["hard case, noise of the outputs", *names]]
    for row in rows:
        found = {name: result for name in names if (result := row.find(name))}
        plain = found["ORT MinMax"].noise if "ORT MinMax" in found else math.nan
        cells = [
            f"{result.noise:.2g}" + (f" (1/{plain / result.noise:.0f})" if name in presets else "")
            for name, result in found.items()
        ]
        lines.append([row.task.name, *cells])
    return _table(lines, 1)


def _cell(result: Measured | None, figure: Figure, first: bool) -> str:
    if result is None or (result.quantizer == "float" and not figure.absolute):
        return ""
    if figure.name not in result.scores:
        return "fails"
    text = f"{result.scores[figure.name]:.2f}"
    return f"{text} ({result.snr:.1f} dB)" if first and result.noise else text


def _trouble(row: Row) -> list[str]:
    """What somebody has to know of the models beyond their accuracy."""
    found: dict[str, list[str]] = {}
    for result in row.results:
        if result.wrong:
            found.setdefault(result.wrong, []).append(result.quantizer)
        if result.partitions not in (None, 1) or result.on_cpu:
            count = f"{result.partitions} partition{'' if result.partitions == 1 else 's'}"
            left = ", ".join(f"{node} ({why})" for node, why in result.on_cpu.items()) or "nothing"
            found.setdefault(f"{count}; on the CPU: {left}", []).append(result.quantizer)
    return [f"{row.task.name}, {', '.join(names)}: {text}" for text, names in found.items()]


def _table(rows: Sequence[Sequence[str]], texts: int) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * texts + "---:|" * (len(rows[0]) - texts))
    return "\n".join(lines)


def missed(rows: Sequence[Row], preset: str) -> list[str]:
    """The demands on a preset that are not met, a line each."""
    return [line for row in rows for line in _missed(row, preset)]


def _missed(row: Row, preset: str) -> Iterator[str]:
    own, given = row.find(preset), row.find("float")
    others = [found for name in CALIBRATORS if (found := row.find(f"ORT {name}"))]
    others = [other for other in others if other.scores]
    if own is None or given is None:
        return
    if row.task.hard:
        for other in others:
            if not own.noise <= other.noise * HARD_BAR:
                times = other.noise / own.noise
                yield f"{row.task.name}: {times:.1f} times less noise than {other.quantizer}"
        return
    for figure in row.task.figures:
        what, score = f"{row.task.name}, {figure.name}:", own.scores.get(figure.name, -math.inf)
        wanted = given.scores[figure.name]
        if figure.allowed is not None and score < wanted - figure.allowed:
            yield f"{what} {score:.2f}, float has {wanted:.2f}"
        best = max(others, key=lambda other: other.scores[figure.name], default=None)
        if best and score < best.scores[figure.name]:
            yield f"{what} {score:.2f}, {best.quantizer} has {best.scores[figure.name]:.2f}"
    best = min(others, key=lambda other: other.noise, default=None)
    if best and not own.noise <= best.noise:
        yield f"{row.task.name}: {own.snr:.1f} dB, {best.quantizer} has {best.snr:.1f} dB"


def to_json(rows: Sequence[Row]) -> str:
    """Everything that was measured."""
    entries = [
        {"task": row.task.name, "results": [asdict(one) | {"snr": one.snr} for one in row.results]}
        for row in rows
    ]
    return json.dumps(entries, indent=1) + "\n"


def write(page: Path, text: str) -> None:
    """Put `text` between the markers of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page}: expected the lines {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")

"""The outcome of a race as a table, as JSON and as a picture."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.engines import ENGINES, versions
from benchmarks.race import NPU, Race, Setting, geometric_mean

_SHORT = {
    "FuriosaProvider": "NPU",
    "ONNX Runtime": "ORT",
    "OpenVINO": "OV",
}


def machine() -> dict[str, str | int | None]:
    """What the figures were taken on."""
    return {"processor": _processor(), "processors": os.cpu_count(), **versions()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(races: Sequence[Race]) -> str:
    """A Markdown table for each setting: medians in ms with the 90th percentile in brackets."""
    settings = list(dict.fromkeys(race.setting for race in races))
    return "\n\n".join(
        _setting_table(setting, [race for race in races if race.setting == setting])
        for setting in settings
    )


def _setting_table(setting: Setting, races: Sequence[Race]) -> str:
    engines = [
        engine.name
        for engine in ENGINES
        if any(result.engine == engine.name for result in races[0].results)
    ]
    heads = [_head(name) for name in engines]
    rows = [["model", *heads, "best peer", "ratio", "of peak"]]
    for race in races:
        times = [race.result(name) for name in engines]
        share = race.share_of_peak(NPU)
        rows.append(
            [
                race.model,
                *(f"{1e3 * time.median:.2f} ({1e3 * time.p90:.2f})" for time in times),
                heads[engines.index(race.best_peer.engine)],
                f"{race.ratio:.2f}",
                "" if share is None else f"{share:.0%}",
            ]
        )
    mean = geometric_mean(race.ratio for race in races)
    rows.append(["geometric mean", *("" for _ in engines), "", f"{mean:.3f}", ""])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * len(engines) + "---|---:|---:|")
    return f"**{setting}**, ms for a run (90th percentile)\n\n" + "\n".join(lines)


def _head(engine: str) -> str:
    runtime, kind = engine.rsplit(" ", 1)
    return f"{_SHORT[runtime]} {kind}"


def to_json(races: Sequence[Race]) -> str:
    """Everything that was measured."""
    entries = [
        {
            **asdict(race),
            "ratio": race.ratio,
            "best_peer": race.best_peer.engine,
            "share_of_peak": race.share_of_peak(NPU),
        }
        for race in races
    ]
    return json.dumps({"machine": machine(), "races": entries}, indent=1) + "\n"


def plot(races: Sequence[Race], path: Path) -> None:
    """Draw the time of each runtime's best kind of model, relative to the best peer's."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings = list(dict.fromkeys(race.setting for race in races))
    figure, axes = plt.subplots(
        len(settings), 1, figsize=(10, 3.2 * len(settings)), squeeze=False, layout="constrained"
    )
    for axis, setting in zip(axes[:, 0], settings, strict=True):
        chosen = [race for race in races if race.setting == setting]
        for place, (runtime, colour) in enumerate(
            zip(_SHORT, ("#d1495b", "#8d99ae", "#457b9d"), strict=True)
        ):
            heights = [_best(race, runtime) / race.best_peer.median for race in chosen]
            at = [i + (place - 1) * 0.27 for i in range(len(chosen))]
            bars = axis.bar(at, heights, 0.25, label=runtime, color=colour)
            axis.bar_label(bars, fmt="%.2f", fontsize=7)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xticks(range(len(chosen)), [race.model for race in chosen], fontsize=8)
        axis.set_ylabel("time / best peer's")
        axis.set_title(str(setting), fontsize=10)
    axes[0, 0].legend(fontsize=8, ncols=3, loc="upper right")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _best(race: Race, runtime: str) -> float:
    return min(result.median for result in race.results if result.engine.startswith(runtime))

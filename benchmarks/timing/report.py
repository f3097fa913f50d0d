"""The figures as tables and as a picture."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing.estimates import Together
from benchmarks.timing.fit import Quality, Row, fused_ratios

MARKERS = ("<!-- figures -->", "<!-- end of figures -->")


def table(found: Sequence[Row], estimated: Sequence[Row], queries: Sequence[Together]) -> str:
    """Markdown: each figure of the NPU's time, how near they are, and what has no batch.

    `estimated` are the same figures as `furiosa estimate` has them.
    """
    lines = [
        "| network | PEs | batch | what | published ms | model ms | error | |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row.figure.network} | {row.figure.pes} | {row.figure.batch} "
            f"| {row.figure.measured.value} | {row.figure.milliseconds:.3f} | {row.predicted:.3f} "
            f"| {row.error:+.1%} | {'fitted' if row.figure.fitted else ''} |"
            for row in found
        ),
        "",
        *_QUALITY,
        *(_quality(name, rows) for name, rows in _groups(found)),
        _quality("all, by `furiosa estimate`", estimated),
        "",
        "| network | fused over single, published | model | error |",
        "|---|---|---|---|",
        *(
            f"| {network} | {published:.3f} | {predicted:.3f} | {predicted / published - 1:+.1%} |"
            for network, (published, predicted) in fused_ratios(found).items()
        ),
        "",
        "| queries of 8 | published mean, 99 % | a batch of 8, fused | 8 runs, fused "
        "| batches of 4, apart |",
        "|---|---|---|---|---|",
        *(
            f"| {one.published.network} | {one.published.mean:.3f}, {one.published.percentile:.3f} "
            f"| {one.one_batch:.3f} | {one.singly:.3f} | {one.halves:.3f} |"
            for one in queries
        ),
    ]
    return "\n".join(lines)


def latency_table(exported: Sequence[Row], measured: Sequence[Row]) -> str:
    """Markdown: each latency beside two estimates, and how near these are.

    `exported` are those of the models as they are exported, `measured` those of the detectors as
    they were measured: without what decodes boxes.
    """
    lines = [
        "| network | PEs | input | published ms | exported, ms | error | without decoding, ms "
        "| error | |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_latency, exported, measured),
        "",
        *_QUALITY,
        *(_quality(f"{name}, exported", rows) for name, rows in _groups(exported)),
        *(_quality(f"{name}, without decoding", rows) for name, rows in _groups(measured)),
    ]
    return "\n".join(lines)


_QUALITY = (
    "| figures | number | mean error | largest | rank correlation |",
    "|---|---|---|---|---|",
)


def _latency(exported: Row, measured: Row) -> str:
    figure = exported.figure
    differ = measured.predicted != exported.predicted
    without = f"{measured.predicted:.3f} | {measured.error:+.1%}" if differ else " | "
    return (
        f"| {figure.network} | {figure.pes} | {'float' if figure.float_inputs else 'bytes'} "
        f"| {figure.milliseconds:.3f} | {exported.predicted:.3f} | {exported.error:+.1%} "
        f"| {without} "
        f"| {figure.note or ('fitted' if figure.fitted else '')} |"
    )


def _groups(found: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    fitted = [row for row in found if row.figure.fitted]
    others = [row for row in found if not row.figure.fitted]
    groups = [("fitted", fitted), ("validation", others), ("all", [*found])]
    return [(name, rows) for name, rows in groups if rows]


def _quality(name: str, found: Sequence[Row]) -> str:
    one = Quality.of(found)
    return f"| {name} | {len(found)} | {one.mean:.1%} | {one.most:.1%} | {one.rank:.3f} |"


def write_table(text: str, path: Path) -> None:
    """Replace the table between the markers of a document."""
    before, _, rest = path.read_text().partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    path.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


def write_plot(found: Sequence[Row], path: Path) -> None:
    """A picture of predicted over published times, both in logarithmic scale, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "timing"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 6.0))
    times = [row.figure.milliseconds for row in found]
    ends = [0.7 * min(times), 1.6 * max(times)]
    for share, alpha in ((0.35, 0.12), (0.12, 0.25)):
        low, high = ([end * (1 + sign * share) for end in ends] for sign in (-1, 1))
        axes.fill_between(ends, low, high, alpha=alpha, color="tab:blue", linewidth=0)
    axes.plot(ends, ends, color="tab:blue", linewidth=0.8)
    for pes, marker in ((1, "o"), (2, "s")):
        for fitted in (True, False):
            own = [row for row in found if (row.figure.pes, row.figure.fitted) == (pes, fitted)]
            axes.scatter(
                [row.figure.milliseconds for row in own],
                [row.predicted for row in own],
                marker=marker,
                facecolors="none" if fitted else "tab:orange",
                edgecolors="tab:orange",
                label=f"{pes} PE{'s' * (pes > 1)}, {'fitted' if fitted else 'validation'}",
            )
    for row in found:
        axes.annotate(
            f" {row.figure.network}", (row.figure.milliseconds, row.predicted), fontsize=5
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set(xlabel="published, ms", ylabel="model, ms")
    axes.legend(title="bands: 12 % and 35 %", fontsize=8, title_fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)

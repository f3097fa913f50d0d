"""The figures as a table and as a picture."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing.fit import Quality, Row, fused_ratios

MARKERS = ("<!-- figures -->", "<!-- end of figures -->")


def table(found: Sequence[Row]) -> str:
    """Markdown: each figure, then how near they are."""
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
        "| figures | number | mean error | largest | rank correlation |",
        "|---|---|---|---|---|",
        *(_quality(name, rows) for name, rows in _groups(found)),
        "",
        "| network | fused over single, published | model | error |",
        "|---|---|---|---|",
        *(
            f"| {network} | {published:.3f} | {predicted:.3f} | {predicted / published - 1:+.1%} |"
            for network, (published, predicted) in fused_ratios(found).items()
        ),
    ]
    return "\n".join(lines)


def _groups(found: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    fitted = [row for row in found if row.figure.fitted]
    others = [row for row in found if not row.figure.fitted]
    groups = [("fitted", fitted), ("validation", others), ("all", [*found])]
    return [(name, rows) for name, rows in groups if rows]


def _quality(name: str, found: Sequence[Row]) -> str:
    one = Quality.of(found)
    return f"| {name} | {len(found)} | {one.mean:.1%} | {one.most:.1%} | {one.rank:.3f} |"


def write_table(found: Sequence[Row], path: Path) -> None:
    """Replace the table between the markers of a document."""
    text = path.read_text()
    before, _, rest = text.partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    path.write_text(f"{before}{MARKERS[0]}\n{table(found)}\n{MARKERS[1]}{after}")


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

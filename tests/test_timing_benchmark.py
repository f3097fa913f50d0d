"""The timing model is near to what has been published, as far as networks can be built here."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from benchmarks.models import macs, yolov8
from benchmarks.models.mobilenet import mobilenet_v1
from benchmarks.models.ssd_resnet34 import ssd_resnet34
from benchmarks.models.yolov5 import yolov5l, yolov5n, yolov5s
from benchmarks.models.yolov7 import yolov7
from benchmarks.models.yolox import yolox_l
from benchmarks.timing import __main__ as command
from benchmarks.timing import fit, report
from benchmarks.timing.estimates import Estimates
from benchmarks.timing.figures import FIGURES, LATENCIES, MULTI_STREAM, YOLO, Figure, Measured
from benchmarks.timing.fit import Quality, Row, fused_ratios
from benchmarks.timing.networks import EXPORTED, Networks, without_decoding
from furiosa_ep.device_emulator.timing import PARAMETERS, schedule_program
from furiosa_ep.program import Engine

LARGE = frozenset({"ssd_resnet34", "yolov7", "yolov5l", "yolox_l"})
"""Slow to build; `python -m benchmarks.timing` has them."""


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks()


@pytest.fixture(scope="module")
def found(networks: Networks) -> list[Row]:
    figures = [one for one in FIGURES if one.network in networks and one.network not in LARGE]
    return fit.rows(figures, fit.predictor(networks))


def test_figures_are_predicted(found: list[Row]) -> None:
    assert len(found) >= 11
    quality = Quality.of(found)
    assert quality.mean <= 0.06, report.table(found, found, [])
    assert quality.most <= 0.12, report.table(found, found, [])
    assert quality.rank >= 0.97


def test_figures_that_nothing_was_fitted_to_are_predicted(found: list[Row]) -> None:
    assert Quality.of([row for row in found if not row.figure.fitted]).mean <= 0.12


def test_fused_times_keep_their_ratio_to_single_ones(found: list[Row]) -> None:
    ratios = fused_ratios(found)
    assert set(ratios) == {"yolov5n", "yolov5s", "yolov8n"}
    for published, predicted in ratios.values():
        assert predicted == pytest.approx(published, rel=0.1)


def test_kinds_of_commands_take_what_was_published(networks: Networks) -> None:
    """The means of MobileNet-v1: 5.1 to 5.3 us for a convolution, 1.1 to 1.4 for a depthwise."""
    program = networks.program("mobilenet_v1", 1)
    schedule = schedule_program(program, fit.TARGETS[2])
    dense: list[float] = []
    depthwise: list[float] = []
    for event in schedule.events:
        command = program.commands[event.command]
        if event.engine is Engine.COMPUTE and command.opcode == "CONV":
            kind = depthwise if command.attributes["group"] != 1 else dense
            kind.append((event.end - event.start) / 2e3)
    assert sum(dense) / len(dense) == pytest.approx(5.3, rel=0.2)
    assert sum(depthwise) / len(depthwise) == pytest.approx(1.25, rel=0.2)


def test_fit_finds_parameters_again() -> None:
    figures = [Figure(f"n{n}", 1, 1.0, Measured.RUN, "") for n in range(4)]
    names = dict(zip((figure.network for figure in figures), fit.FITTED, strict=True))
    published = [
        replace(one, milliseconds=getattr(PARAMETERS, names[one.network])) for one in figures
    ]
    start = PARAMETERS._replace(command_cycles=3000.0, exchange=0.3)
    best = fit.fit(published, lambda one, given: getattr(given, names[one.network]), start)
    for name in fit.FITTED:
        assert getattr(best, name) == pytest.approx(getattr(PARAMETERS, name), rel=0.02)


def test_each_family_is_predicted_by_the_others() -> None:
    def predict(figure: Figure, parameters: object) -> float:
        return figure.milliseconds * 1.1

    rows = fit.across_families(FIGURES, predict)
    assert {row.figure for row in rows} == set(FIGURES)
    assert Quality.of(rows).mean == pytest.approx(0.1)
    assert Quality.of(rows).rank == 1.0


def test_the_documents_have_the_figures(networks: Networks, found: list[Row]) -> None:
    """Of networks that are built here; `python -m benchmarks.timing --write` writes all."""
    built = [row for row in found if row.figure.network not in EXPORTED]
    assert len(built) >= 9
    fresh = report.table(built, built, []).split("\n\n")[0].splitlines()
    assert set(fresh) <= set(command.DOCUMENT.read_text().splitlines())
    latencies = [
        figure
        for figure in LATENCIES
        if figure.network in networks and figure.network not in {*EXPORTED, *LARGE}
    ]
    assert len(latencies) >= 8
    rows = (
        Estimates(networks).latency_rows(latencies, decoding=decoding) for decoding in (True, False)
    )
    fresh = report.latency_table(*rows).split("\n\n")[0].splitlines()
    assert set(fresh) <= set(command.HOST_DOCUMENT.read_text().splitlines())


def test_estimates_are_near_the_figures(networks: Networks, found: list[Row]) -> None:
    """As users have them: models as they are exported, and nothing for the load generator."""
    rows = Estimates(networks).npu_rows([row.figure for row in found])
    quality = Quality.of(rows)
    assert quality.mean <= 0.1, report.table(rows, rows, [])
    assert quality.rank >= 0.97
    for own, row in zip(rows, found, strict=True):
        if row.figure.measured is Measured.RUN:
            assert own.predicted == pytest.approx(row.predicted)


def test_every_published_latency_is_there() -> None:
    assert sum(one.source == YOLO for one in LATENCIES) == 20
    assert sorted(one.milliseconds for one in LATENCIES if one.source != YOLO) == [
        1.264,
        2.715,
        5.456,
        12.02,
        14.69,
    ]
    tasks = {(one.network, one.pes): one for one in FIGURES if one.measured is Measured.TASK}
    for one in LATENCIES:
        if one.source == YOLO:
            assert one.milliseconds > tasks[one.network, one.pes].milliseconds


def test_latencies_are_predicted(networks: Networks) -> None:
    """Within what docs/estimate.md says, but for the two that other figures contradict."""
    figures = [
        one
        for one in LATENCIES
        if one.network in ("resnet50", "yolov5n", "yolov5s")
        and one.milliseconds not in {2.715, 12.02}
    ]
    assert len(figures) == 6
    estimates = Estimates(networks)
    exported = estimates.latency_rows(figures, decoding=True)
    measured = estimates.latency_rows(figures, decoding=False)
    assert Quality.of(exported).most <= 0.21
    assert Quality.of(measured).most <= 0.22
    text = report.latency_table(exported, measured)
    assert "| resnet50 | 2 | float | 5.456 | 5.483 | +0.5% |  |  | fitted |" in text
    assert text.count("| yolov5n | ") == 2
    for one, other in zip(exported, measured, strict=True):
        assert (one.predicted > other.predicted) == one.figure.network.startswith("yolo")


def test_queries_of_8_samples_lie_between_ways_to_run_them(networks: Networks) -> None:
    estimates = Estimates(networks)
    for published in MULTI_STREAM:
        query = estimates.together(published)
        assert query.halves < published.mean < published.percentile < query.singly
        assert query.one_batch < query.singly


def test_tables_and_plot_are_written(found: list[Row], tmp_path: Path) -> None:
    document, plot = tmp_path / "page.md", tmp_path / "plot.svg"
    document.write_text(f"before\n{report.MARKERS[0]}\nold\n{report.MARKERS[1]}\nbehind\n")
    table = report.table(found, found, [])
    report.write_table(table, document)
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nbehind\n")
    assert "old" not in text
    assert table in text
    pytest.importorskip("matplotlib")
    report.write_plot(found, plot)
    first = plot.read_bytes()
    report.write_plot(found, plot)
    assert plot.read_bytes() == first
    assert b"yolov8n" in first


def test_documents_are_not_written_without_all_networks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["timing", "--write"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--write needs all exports; yolov5mu" in capsys.readouterr().err


def test_decoding_is_taken_off() -> None:
    model = without_decoding(yolov8.yolov8n())
    shapes = [
        [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        for output in model.graph.output
    ]
    assert sorted(shapes) == sorted([1, n, side, side] for n in (64, 80) for side in (20, 40, 80))


@pytest.mark.parametrize(
    ("build", "billions", "millions"),
    [
        (mobilenet_v1, 0.569, 4.23),
        (yolov5n, 2.23, 1.9),
        (yolov5s, 8.22, 7.2),
        (yolov5l, 54.5, 46.5),
        (yolov7, 52.3, 36.9),
        (ssd_resnet34, 216.9, 20.0),
        (yolox_l, 77.8, 54.2),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_networks_are_the_published_ones(build: object, billions: float, millions: float) -> None:
    model = build() if callable(build) else onnx.ModelProto()
    assert macs(model) / 1e9 == pytest.approx(billions, rel=0.01)
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    names = {name for layer in layers for name in layer.input[1:]}
    arrays = (numpy_helper.to_array(one) for one in model.graph.initializer if one.name in names)
    assert sum(array.size for array in arrays) / 1e6 == pytest.approx(millions, rel=0.03)

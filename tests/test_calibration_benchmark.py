"""The benchmark of calibration measures what it says."""

import sys
from itertools import islice

import onnx
import onnx.parser
import pytest

from benchmarks import calibration
from benchmarks.session_probe import megabytes


def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> '
        "g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Sigmoid(x) }"
    )


def test_samples_are_different() -> None:
    found = [feed["x"] for feed in calibration.samples(model(), 40)]
    assert len(found) == 40
    assert len({array.tobytes() for array in found}) == 40


def test_all_take_turns_on_the_same_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "TURN", 3)
    seen: dict[str, list[float]] = {"a": [], "b": []}
    order = []

    def run(name: str) -> calibration.Action:
        def take(feeds: calibration.Feeds) -> None:
            order.append(name)
            seen[name] += [float(feed["x"][0, 0, 0, 0]) for feed in feeds]

        return take

    times = calibration.in_turns(
        {name: run(name) for name in seen}, lambda: calibration.samples(model(), 8)
    )
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(turns) for name, turns in times.items()} == {"a": 3, "b": 3}
    expected = [float(feed["x"][0, 0, 0, 0]) for feed in calibration.samples(model(), 8)]
    assert seen == {"a": expected, "b": expected}


def test_a_calibration_in_turns_finds_ranges() -> None:
    run = calibration.Run(model(), "mse")
    feeds = calibration.samples(model(), 6)
    run(islice(feeds, 4))
    run(feeds)
    around = run.around
    run.finish()
    assert run.around > around > 0


def test_bare_inference_runs_every_sample() -> None:
    taken = []

    def feeds() -> calibration.Feeds:
        for feed in calibration.samples(model(), 5):
            taken.append(feed)
            yield feed

    calibration.bare(model())(feeds())
    assert len(taken) == 5


def test_a_process_alone_tells_its_peak(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "TOPOLOGIES", {"tiny": model})
    monkeypatch.setattr(sys, "argv", ["calibration", "--alone", "tiny", "mse", "--samples", "4"])
    calibration.main()
    assert float(capsys.readouterr().out) == pytest.approx(megabytes("VmHWM"), rel=0.01)


def test_a_row_for_each_calibrator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "TOPOLOGIES", {"tiny": model})
    monkeypatch.setattr(calibration, "peak", lambda *_: 100.0)
    rows = list(calibration.race("tiny", ["extremes", "mse"], 4))
    assert [row["calibrator"] for row in rows] == ["extremes", "mse"]
    for row in rows:
        turns, around, bare = (float(row[key]) for key in ("turns ms", "around s", "bare ms"))
        assert float(row["ratio"]) == pytest.approx((turns + around * 1e3 / 4) / bare)

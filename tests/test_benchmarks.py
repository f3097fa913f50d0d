"""The race's own arithmetic; what it measures is no test's business."""

import itertools
import json
import re
from functools import partial

import pytest

from benchmarks import bursts, layers, race, report
from benchmarks.bursts import measure
from benchmarks.engines import Run
from benchmarks.models.network import Network
from benchmarks.prepare import feeds
from benchmarks.race import NPU, Race, Result, Setting, geometric_mean
from furiosa_ep.quantization import quantize_model


def result(engine: str, milliseconds: float) -> Result:
    return Result(engine, milliseconds / 1e3, 2 * milliseconds / 1e3, runs=9, dropped=0.1)


def a_race(npu: float, peers: dict[str, float], **setting: int) -> Race:
    results = result(NPU, npu), *(result(name, time) for name, time in peers.items())
    return Race("net", Setting(**setting), macs=10**9, peak=4e11, results=results)


PEERS = {"ONNX Runtime uint8": 8.0, "OpenVINO int8": 5.0}


def test_the_ratio_is_to_the_fastest_peer() -> None:
    one = a_race(4, PEERS | {"FuriosaProvider int8": 1})
    assert one.best_peer.engine == "OpenVINO int8"
    assert one.ratio == pytest.approx(0.8)


def test_the_share_of_the_peak_counts_all_sessions() -> None:
    assert a_race(5, PEERS).share_of_peak(NPU) == pytest.approx(0.5)
    assert a_race(10, PEERS, parallel=2).share_of_peak(NPU) == pytest.approx(0.5)


def test_an_engine_that_did_not_run_is_an_error() -> None:
    with pytest.raises(KeyError, match="OpenVINO float"):
        a_race(1, PEERS).result("OpenVINO float")


def test_the_geometric_mean_of_reciprocals_is_one() -> None:
    assert geometric_mean([0.25, 4, 2, 0.5]) == pytest.approx(1)


def test_the_table_has_a_row_for_each_model_and_their_mean() -> None:
    races = [a_race(4, PEERS), a_race(5, PEERS), a_race(3, PEERS, threads=2)]
    text = report.table(races)
    assert "**batch 1, 1 thread**" in text
    assert "| net | 4.00 (8.00) | 8.00 (16.00) | 5.00 (10.00) | OV int8 | 0.80 | 62% |" in text
    first, second = re.findall(r"geometric mean.* ([\d.]+) \|  \|", text)
    assert (float(first), float(second)) == pytest.approx((0.894, 0.6))


def test_everything_that_was_measured_is_in_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "versions", lambda: {"openvino": "none"})
    entry = json.loads(report.to_json([a_race(4, PEERS)]))["races"][0]
    assert entry["ratio"] == pytest.approx(0.8)
    assert entry["setting"] == {"batch": 1, "threads": 1, "parallel": 1}
    assert [one["median"] for one in entry["results"]] == [0.004, 0.008, 0.005]


def test_bursts_alternate_and_take_turns_in_going_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts, "BURST", 0.0)
    calls: list[str] = []
    timings = measure({name: partial(calls.append, name) for name in "abc"}, 1, 0)
    order = "".join(name for name, _ in itertools.groupby(calls))
    assert order == "abcbcacab"
    assert {name: timing.bursts for name, timing in timings.items()} == dict.fromkeys("abc", 3)


def test_runs_of_disturbed_bursts_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = itertools.cycle([True, False])
    monkeypatch.setattr(bursts, "BURST", 0.0)
    monkeypatch.setattr(bursts.Watch, "disturbed", lambda self: next(verdicts))
    timing = measure({"a": lambda: None}, 1, 0)["a"]
    assert (timing.bursts, timing.dropped) == (3, 2)
    assert (len(timing.runs), len(timing.disturbed)) == (1, 2)


def test_sessions_side_by_side_all_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "BURST", 0.0)
    calls = {"a": 0, "b": 0}

    def session(name: str) -> Run:
        def run() -> None:
            calls[name] += 1

        return run

    together, repeat = race._together([session("a"), session("b")])
    before = dict(calls)
    together()
    assert {name: calls[name] - before[name] for name in calls} == dict.fromkeys("ab", repeat)


def test_the_commands_of_a_model_stand_beside_the_roof() -> None:
    net = Network("small", (1, 3, 8, 8))
    x = net.relu6(net.conv(net.conv(net.input, 8), 8, kernel=3, groups=8))
    model = net.build(x)
    data = quantize_model(model, [feeds(model)]).SerializeToString()
    found = layers.profile(data, rate=2.0, threads=1, rounds=3)
    assert [one.kind for one in found] == [
        "QUANTIZE",
        "CONV 1x1",
        "CONV 3x3 depthwise",
        "DEQUANTIZE",
    ]
    assert found[1].roof == 8 * 8 * 3 * 8 / 2
    assert found[3].bytes == 8 * 8 * 8 * (1 + 4)
    lines = layers.table(found, "lost", top=2).splitlines()
    assert lines[0].startswith("4 commands, ")
    assert len([line for line in lines if re.match(r"\| [0-9]", line)]) == 2

"""The profiler context: what it records, and how it is looked at."""

import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest

import furiosa_ep
from benchmarks.models.synthetic import Quantized
from furiosa_ep import devices
from furiosa_ep.profiler import COLUMNS, Profiler, RecordFormat, Resource, profile
from tests import traces


def session(**options: str) -> ort.InferenceSession:
    network = Quantized()
    data = network.finish(network.add("Conv", network.add("Conv", "x")))
    providers: list[Any] = [("FuriosaProvider", {"claim": "all", **options})]
    return ort.InferenceSession(data, providers=[*providers, "CPUExecutionProvider"])


def run(one: ort.InferenceSession, times: int = 1) -> None:
    (x,) = one.get_inputs()
    for _ in range(times):
        one.run(None, {x.name: np.zeros(x.shape, np.uint8)})


@pytest.fixture(scope="module")
def sessions() -> list[ort.InferenceSession]:
    furiosa_ep.register()
    return [session(), session()]


Sessions = list[ort.InferenceSession]


@pytest.fixture(scope="module")
def recorded(sessions: Sessions) -> Profiler:
    """Two runs in a span of the user's, and one that is not recorded."""
    with profile() as profiler:
        with profiler.record("both"):
            for one in sessions:
                run(one)
        profiler.pause()
        run(sessions[0])
        with profiler.record("nothing"):
            pass
    run(sessions[0])
    return profiler


def test_it_records_all_sessions(recorded: Profiler) -> None:
    frame = recorded.get_pandas_dataframe()
    assert tuple(frame.columns) == COLUMNS
    assert frame["start"].is_monotonic_increasing
    assert (frame["end"] - frame["start"] == frame["dur"]).all()
    assert set(frame["cat"]) == {"Runtime", "NPU"}
    assert list(frame["name"]).count("Inference") == frame["trace_id"].nunique() == 2
    assert "nothing" not in set(frame["name"])
    (both,) = frame[frame["name"] == "both"].itertuples()
    inside = frame[frame["name"] == "Inference"]
    assert (inside["start"] >= both.start).all()
    assert (inside["end"] <= both.end).all()
    assert set(inside["thread.id"]) == {threading.get_native_id()}


def test_commands_and_instructions_are_counted(recorded: Profiler) -> None:
    frame = recorded.get_pandas_dataframe()
    first = frame[frame["trace_id"] == frame["trace_id"].min()]
    (inference,) = first[first["name"] == "Inference"].itertuples()
    host = first[(first["parent_span_id"] == inference.span_id) & first["pe_index"].isna()]
    assert list(host["operator_index"]) == list(range(len(host)))
    npu = first[first["instruction_index"].notna()]
    assert sorted(npu["instruction_index"]) == list(range(len(npu)))
    conv = npu[npu["name"] == "LowLevelConv2d"]
    assert list(conv["operators"]) == list(host[host["name"] == "Conv"]["operators"])
    assert set(conv["thread.id"]) == {traces.NPU_TRACKS}


def test_parts_of_the_frame(recorded: Profiler) -> None:
    cpu, npu = recorded.get_cpu_pandas_dataframe(), recorded.get_npu_pandas_dataframe()
    assert set(cpu["cat"]) == {"Runtime"}
    assert set(npu["cat"]) == {"NPU"}
    assert len(cpu) + len(npu) == len(recorded.get_pandas_dataframe())
    inferences = recorded.get_pandas_dataframe_with_filter("name", "Inference")
    assert list(inferences["name"]) == ["Inference"] * 2
    with pytest.raises(ValueError, match="column 'nmae': expected one of trace_id, "):
        recorded.get_pandas_dataframe_with_filter("nmae", "Inference")


@pytest.mark.parametrize(
    ("resource", "kept", "left"),
    [(Resource.Cpu, "Runtime", "NPU"), (Resource.Npu, "NPU", "Runtime")],
)
def test_resources(sessions: Sessions, resource: Resource, kept: str, left: str) -> None:
    with profile(resource) as profiler, profiler.record("mine"):
        run(sessions[0])
    frame = profiler.get_pandas_dataframe()
    assert set(frame["cat"]) == {kept}
    assert ("mine" in set(frame["name"])) == (kept == "Runtime")
    other = (
        profiler.get_cpu_pandas_dataframe
        if left == "Runtime"
        else profiler.get_npu_pandas_dataframe
    )
    assert other().empty


def test_what_is_recorded_can_be_seen_meanwhile_and_goes_on(sessions: Sessions) -> None:
    def count() -> int:
        return list(profiler.get_pandas_dataframe()["name"]).count("Inference")

    with profile(format=RecordFormat.PandasDataFrame) as profiler:
        assert count() == 0
        run(sessions[0])
        assert count() == 1
        profiler.pause()
        run(sessions[0])
        profiler.resume()
        run(sessions[1], 2)
        assert count() == 3


def test_a_run_that_fails(capsys: pytest.CaptureFixture[str], host: str) -> None:
    furiosa_ep.register()
    one = session(device="npu0pe1")
    devices.inject("dma-error", "npu0pe1")
    with profile() as profiler:
        with pytest.raises(Exception, match="DmaError"):
            run(one)
        devices.reset("npu0pe1")
        run(one)
    frame = profiler.get_pandas_dataframe()
    failed, whole = frame[frame["name"] == "Inference"].itertuples()
    assert failed.error.startswith("DmaError: npu0pe1 has failed to move data")
    assert pd.isna(whole.error)
    assert list(frame[frame["trace_id"] == failed.trace_id]["name"]) == ["Inference"]
    assert set(frame[frame["cat"] == "NPU"]["trace_id"]) == {whole.trace_id}
    profiler.print_summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["Inference count: 1", f"  min (ns): {whole.dur}"]
    assert lines[-1] == "Failed: 1"


def test_a_throttled_clock(host: str) -> None:
    furiosa_ep.register()
    one = session(device="npu0pe1")
    with profile() as profiler:
        run(one)
        devices.inject("overheat", "npu0pe1")
        run(one)
    frame = profiler.get_pandas_dataframe()
    full, slow = (group for _, group in frame[frame["pe_index"] == 1].groupby("trace_id"))
    assert list(full["name"]) == list(slow["name"])
    ratio = {
        (name, other / own)
        for name, own, other in zip(full["name"], full["dur"], slow["dur"], strict=True)
    }
    assert {("Execution", 2.0), ("LowLevelConv2d", 2.0), ("FeedInputs", 1.0)} <= ratio
    assert {factor for _, factor in ratio} == {1.0, 2.0}
    executions = frame[frame["name"] == "Execution"]
    assert list(executions["clock_permille"].fillna(1000)) == [1000, 500]
    counters = devices.list_devices()[0].counters()[1]
    # At 2 GHz, where an event begins and ends with a nanosecond.
    assert counters.cycles == pytest.approx(2 * executions["dur"].sum(), abs=4 * len(executions))


def test_profilers_do_not_disturb_each_other(sessions: Sessions) -> None:
    with profile() as outer:
        run(sessions[0])
        with profile() as inner:
            run(sessions[0])
        run(sessions[0])
    counts = [list(one.get_pandas_dataframe()["name"]).count("Inference") for one in (outer, inner)]
    assert counts == [3, 1]


def test_runs_are_on_the_processing_element_of_their_session() -> None:
    furiosa_ep.register()
    one = session(device="npu0pe1")
    with profile() as profiler:
        run(one)
    frame = profiler.get_npu_pandas_dataframe()
    assert set(frame["pe_index"]) == {1}
    assert traces.NPU_TRACKS + 1 in set(frame["thread.id"])


@pytest.mark.parametrize("make", [io.StringIO, io.BytesIO])
def test_a_trace_goes_to_an_open_file(sessions: Sessions, make: Any) -> None:
    file = make()
    with profile(file=file):
        run(sessions[0])
    assert len(traces.runs(traces.check(json.loads(file.getvalue())))) == 1


def test_a_trace_goes_to_a_path(sessions: Sessions, tmp_path: Path) -> None:
    with profile(file=tmp_path / "trace.json") as profiler:
        run(sessions[0])
    profiler.export_chrome_trace(tmp_path / "again.json")
    found = [traces.read(tmp_path / name) for name in ("trace.json", "again.json")]
    assert found[0] == found[1]
    assert len(traces.runs(found[0])) == 1


def test_frames_are_not_written_to_files() -> None:
    with pytest.raises(ValueError, match=r"expected RecordFormat\.ChromeTrace"):
        profile(format=RecordFormat.PandasDataFrame, file="trace.json")


def test_tables(recorded: Profiler, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(what: str) -> list[str]:
        getattr(recorded, f"print_{what}")()
        return capsys.readouterr().out.splitlines()

    frame = recorded.get_pandas_dataframe()
    summary = printed("summary")
    assert summary[:2] == ["Inference Results Summary", "Inference count: 2"]
    longest = frame[frame["name"] == "Inference"]["dur"].max()
    assert f"  max (ns): {longest}" in summary
    assert "NPU execution (modelled) count: 2" in summary
    inferences = [line.split() for line in printed("inferences")]
    assert inferences[0] == ["trace_id", "span_id", "thread.id", "dur"]
    assert len(inferences) == 3
    title, *executions = printed("npu_executions")
    assert title.split("  ")[-3:] == ["NPU Total", "NPU Run", "NPU IoWait"]
    for line in executions:
        total, computing, waiting = map(int, line.split()[-3:])
        assert total == computing + waiting > 0
    convs = frame[frame["name"] == "LowLevelConv2d"]["dur"]
    operators = {line.split()[0]: line.split()[1:] for line in printed("npu_operators")[1:]}
    assert operators["LowLevelConv2d"] == [f"{convs.mean():.1f}", str(len(convs))]
    external = [line.split() for line in printed("external_operators")]
    assert {line[2] for line in external[1:]} <= {"Quantize", "Lower", "Unlower", "Dequantize"}


def test_an_empty_profile(capsys: pytest.CaptureFixture[str]) -> None:
    with profile() as profiler:
        pass
    assert profiler.get_pandas_dataframe().empty
    profiler.print_summary()
    profiler.print_npu_operators()
    assert "Inference count: 0" in capsys.readouterr().out


def test_pandas_is_imported_only_for_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with profile() as profiler:
        pass
    profiler.print_inferences()
    with pytest.raises(ImportError, match=r"pip install furiosa-ep\[profiler\]"):
        profiler.get_pandas_dataframe()

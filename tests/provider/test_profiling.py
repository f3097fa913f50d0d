"""The Chrome traces of sessions, and what ONNX Runtime's own profiling shows."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import furiosa_ep
from benchmarks.models.synthetic import Quantized
from furiosa_ep import devices
from tests import traces
from tests.provider.conftest import RunPython

PROVIDERS = ["FuriosaProvider", "CPUExecutionProvider"]
PROGRAM = """
import os, sys
import numpy as np, onnxruntime as ort, furiosa_ep
from tests.provider.test_profiling import conv, run
furiosa_ep.register()
first, second = conv(), conv()
for _ in range(3): run(first)
"""


def model() -> bytes:
    network = Quantized()
    return network.finish(network.add("Conv", network.add("Conv", "x")))


def conv(settings: ort.SessionOptions | None = None, **options: str) -> ort.InferenceSession:
    providers: list[Any] = [("FuriosaProvider", {"claim": "all", **options}), PROVIDERS[1]]
    return ort.InferenceSession(model(), settings, providers=providers)


def run(session: ort.InferenceSession) -> None:
    (x,) = session.get_inputs()
    session.run(None, {x.name: np.zeros(x.shape, np.float32 if "float" in x.type else np.uint8)})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FURIOSA_PROFILER_OUTPUT_PATH", raising=False)
    furiosa_ep.register()


def test_a_session_writes_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    session = conv(profile=str(path))
    for _ in range(2):
        run(session)
    del session
    events = traces.read(path)
    assert len(traces.runs(events)) == 2
    assert {one["args"]["session"] for one in traces.runs(events)} != {0}
    assert [one["name"] for one in events].count("Compile") == 1
    assert [one["name"] for one in events if one["tid"] == traces.NPU_TRACKS].count(
        "Execution"
    ) == 2
    first = traces.runs(events)[0]
    inside = [
        one for one in events if one["args"].get("parent_span_id") == first["args"]["span_id"]
    ]
    assert "Conv" in {one["name"] for one in inside}
    assert all("operators" in one["args"] for one in inside if one["name"] == "Conv")
    assert "LowLevelConv2d" in {one["name"] for one in events if one["cat"] == "NPU"}


def test_fused_processing_elements_have_tracks_of_their_own(tmp_path: Path) -> None:
    session = conv(profile=str(tmp_path / "trace.json"), target="warboy-2pe")
    run(session)
    del session
    trace = json.loads((tmp_path / "trace.json").read_bytes())
    names = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert "npu0pe0-1 compute" in names


def test_sessions_of_a_process_share_a_file(tmp_path: Path) -> None:
    sessions = [conv(profile=str(tmp_path / "trace.json")) for _ in range(3)]
    threads = [threading.Thread(target=run, args=(one,)) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del sessions
    later = conv(profile=str(tmp_path / "trace.json"))
    run(later)
    del later
    found = traces.runs(traces.read(tmp_path / "trace.json"))
    assert len({one["args"]["session"] for one in found}) == len(found) == 4


def test_a_run_that_fails_says_why(tmp_path: Path, host: str) -> None:
    session = conv(profile=str(tmp_path / "trace.json"), run_timeout="0.05", device="npu0pe0")
    run(session)
    devices.inject("hang", "npu0pe0")
    with pytest.raises(Exception, match="DeviceTimeout"):
        run(session)
    del session
    events = traces.read(tmp_path / "trace.json")
    whole, failed = traces.runs(events)
    assert "error" not in whole["args"]
    assert failed["args"]["error"].startswith("DeviceTimeout: npu0pe0 has hung")
    assert failed["dur"] >= 50_000
    assert [one for one in events if one["args"].get("trace_id") == failed["args"]["trace_id"]] == [
        failed
    ]


def test_other_sessions_are_not_in_it(tmp_path: Path) -> None:
    profiled, other = conv(profile=str(tmp_path / "trace.json")), conv()
    for session in (other, profiled, other):
        run(session)
    del profiled, session
    assert len(traces.runs(traces.read(tmp_path / "trace.json"))) == 1


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("{pid}.json", "{pid}.json"),
        ("", "furiosa-trace-{pid}.json"),
        ("new/", "new/furiosa-trace-{pid}.json"),
    ],
)
def test_where_it_is_written(tmp_path: Path, where: str, name: str) -> None:
    session = conv(profile=f"{tmp_path}/{where}")
    run(session)
    del session
    assert len(traces.runs(traces.read(tmp_path / name.format(pid=os.getpid())))) == 1


def test_a_path_that_cannot_be_written_fails_the_session(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "trace.json"
    with pytest.raises(Exception, match=rf"option 'profile'='{path}': cannot write .*#profile"):
        conv(profile=str(path))


def test_the_environment_profiles_all_sessions(
    tmp_path: Path, run_plain_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_PROFILER_OUTPUT_PATH", str(tmp_path / "trace.json"))
    done = run_plain_python(PROGRAM + "run(second)")
    assert done.returncode == 0, done.stderr
    found = traces.runs(traces.read(tmp_path / "trace.json"))
    assert sorted(one["args"]["session"] for one in found) == [1, 1, 1, 2]


def test_a_broken_variable_is_a_warning(
    tmp_path: Path, run_plain_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_PROFILER_OUTPUT_PATH", str(tmp_path / "absent" / "trace.json"))
    done = run_plain_python(PROGRAM)
    assert done.returncode == 0
    assert "FURIOSA_PROFILER_OUTPUT_PATH: cannot write the profile" in done.stderr


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_however_the_process_ends_the_trace_is_whole(
    tmp_path: Path, run_plain_python: RunPython, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("FURIOSA_PROFILER_OUTPUT_PATH", str(tmp_path))
    done = run_plain_python(PROGRAM + end)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    (path,) = tmp_path.iterdir()
    found = traces.runs(traces.read(path))
    assert len(found) == 3 if end == "sys.exit(0)" else found


def test_a_forked_child_has_a_file_of_its_own(
    tmp_path: Path, run_plain_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_PROFILER_OUTPUT_PATH", str(tmp_path / "trace.json"))
    child = "pid = os.fork()\nif pid == 0:\n    run(second)\n    os._exit(0)\n"
    done = run_plain_python(PROGRAM + child + "os.waitpid(pid, 0); run(first); print(pid)")
    assert done.returncode == 0, done.stderr
    own, childs = tmp_path / "trace.json", tmp_path / f"trace.{done.stdout.strip()}.json"
    assert [len(traces.runs(traces.read(one))) for one in (own, childs)] == [4, 1]


def test_processes_do_not_write_to_one_file(
    tmp_path: Path, run_plain_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_PROFILER_OUTPUT_PATH", str(tmp_path / "trace.json"))
    more = "import subprocess\nsubprocess.run([sys.executable, '-c', CODE])"
    done = run_plain_python(PROGRAM + f"CODE = {PROGRAM!r}\n" + more)
    assert done.returncode == 0, done.stderr
    assert [len(traces.runs(traces.read(one))) for one in tmp_path.iterdir()] == [3, 3]


def ort_profile(
    tmp_path: Path, use: Callable[[ort.InferenceSession], None]
) -> list[dict[str, Any]]:
    settings = ort.SessionOptions()
    settings.enable_profiling = True
    settings.profile_file_prefix = str(tmp_path / "ort")
    session = conv(settings)
    use(session)
    found: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    return found


def test_the_profile_of_onnxruntime_shows_the_same(tmp_path: Path) -> None:
    def use(session: ort.InferenceSession) -> None:
        other = conv()
        time.sleep(0.01)
        for one in (session, other, session):
            run(one)

    events = ort_profile(tmp_path, use)
    own = [one for one in events if one.get("args", {}).get("furiosa_category")]
    inferences = [one for one in own if one["name"] == "Inference"]
    nodes = [one for one in events if one["name"].startswith("FuriosaProvider_") and one["dur"]]
    assert len(inferences) == len(nodes) == 2
    for inference, node in zip(inferences, nodes, strict=True):
        assert node["ts"] - 200 <= inference["ts"] <= node["ts"] + node["dur"] + 200
        assert inference["dur"] <= node["dur"] + 1
    npu = [one for one in own if one["args"]["furiosa_category"] == "NPU"]
    assert {"Execution", "LowLevelConv2d"} <= {one["name"] for one in npu}
    assert {one["args"]["track"] for one in npu} >= {"npu0pe0 compute", "npu0pe0 DMA"}
    # Both ends are rounded, so that what is inside of an event stays there.
    assert all(abs(int(one["args"]["duration_ns"]) / 1000 - one["dur"]) < 1 for one in own)
    traces.nested(own)


def test_without_a_run_the_profile_of_onnxruntime_is_that_of_the_session(tmp_path: Path) -> None:
    events = ort_profile(tmp_path, lambda session: None)
    assert "Inference" not in {one["name"] for one in events}

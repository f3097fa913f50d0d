"""Traces in Perfetto: it understands all of them, and shows what they say."""

import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import furiosa_ep
from benchmarks.models.synthetic import Quantized
from furiosa_ep import devices
from furiosa_ep.profiler import profile
from tests import perfetto, traces

TRACES = ("sessions", "python", "killed", "onnxruntime")
OWN = TRACES[:3]
KILLED = """
import os, time
from tests.test_perfetto import run, session
one = session(profile={path!r})
for _ in range(3):
    time.sleep(0.01)  # after which what has run is written
    run(one)
os.kill(os.getpid(), 9)
"""


def session(settings: ort.SessionOptions | None = None, **options: str) -> ort.InferenceSession:
    furiosa_ep.register()
    network = Quantized()
    model = network.finish(network.add("Conv", network.add("Conv", "x")))
    providers: list[Any] = [("FuriosaProvider", {"claim": "all", **options})]
    return ort.InferenceSession(model, settings, providers=[*providers, "CPUExecutionProvider"])


def run(one: ort.InferenceSession) -> None:
    (x,) = one.get_inputs()
    one.run(None, {x.name: np.zeros(x.shape, np.uint8)})


def in_threads(*sessions: ort.InferenceSession) -> None:
    threads = [threading.Thread(target=run, args=(one,)) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def of_sessions(path: Path) -> None:
    """On fused PEs, then on both by several threads, the last run failing."""
    fused = session(profile=str(path), target="warboy-2pe")
    run(fused)
    del fused
    first, second = (session(profile=str(path), device=f"npu0pe{pe}") for pe in (0, 1))
    in_threads(first, second, first, second)
    devices.inject("overheat", "npu0pe1")
    run(second)
    devices.inject("dma-error", "npu0pe0")
    with pytest.raises(Exception, match="DmaError"):
        run(first)


def of_python(path: Path) -> None:
    one = session()
    with profile(file=path) as profiler, profiler.record('mine: "\N{GREEK SMALL LETTER MU}"'):
        run(one)
        in_threads(one, one)


def of_a_killed_process(path: Path) -> None:
    root = Path(__file__).parents[1]
    code = KILLED.format(path=str(path))
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr


def of_onnxruntime(path: Path) -> None:
    settings = ort.SessionOptions()
    settings.enable_profiling = True
    settings.profile_file_prefix = str(path)
    one = session(settings)
    for _ in range(20):
        run(one)
    Path(one.end_profiling()).rename(path)


@dataclass(frozen=True)
class Opened:
    """A trace, and what Perfetto makes of it."""

    metadata: list[traces.Event]
    events: list[traces.Event]
    seen: perfetto.Seen


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Opened]:
    folder = tmp_path_factory.mktemp("perfetto")
    paths = {name: folder / f"{name}.json" for name in TRACES}
    makers = (of_sessions, of_python, of_a_killed_process, of_onnxruntime)
    for make, path in zip(makers, paths.values(), strict=True):
        make(path)
    opened = {}
    for name, seen in perfetto.look(paths, folder).items():
        whole = json.loads(paths[name].read_bytes())
        all_events = whole if isinstance(whole, list) else whole["traceEvents"]
        metadata, events = ([e for e in all_events if e.get("ph") == kind] for kind in "MX")
        opened[name] = Opened(metadata, events, seen)
    return opened


def nanoseconds(microseconds: float) -> int:
    return round(microseconds * 1000)


@perfetto.needs_perfetto
def test_all_is_understood(opened: dict[str, Opened]) -> None:
    for name, one in opened.items():
        assert not one.seen.problems, name
        assert one.seen.count == [{"slices": len(one.events)}], name
        assert Counter(
            (e["name"], e["cat"], nanoseconds(e["ts"]), nanoseconds(e["dur"]), e["tid"], e["pid"])
            for e in one.events
        ) == Counter(
            tuple(s[key] for key in ("name", "category", "ts", "dur", "tid", "pid"))
            for s in one.seen.slices
        ), name


@perfetto.needs_perfetto
def test_events_are_in_those_that_they_are_part_of(opened: dict[str, Opened]) -> None:
    for name, one in opened.items():
        around = {int(s["span"]): s["around"] for s in one.seen.slices if s["span"] is not None}
        tracks = {int(e["args"]["span_id"]): e["tid"] for e in one.events if "span_id" in e["args"]}
        assert around.keys() == tracks.keys()
        inside = 0
        for event in one.events:
            parent = int(event["args"].get("parent_span_id", 0))
            # What takes no microsecond is in what begins with it, in ONNX Runtime's profile.
            if tracks.get(parent) == event["tid"] and (name in OWN or event["dur"]):
                assert str(around[int(event["args"]["span_id"])]) == str(parent), (name, event)
                inside += 1
        assert inside, name


@perfetto.needs_perfetto
def test_arguments_are_shown(opened: dict[str, Opened]) -> None:
    for name in OWN:
        shown = {(a["span"], a["key"]): a["value"] for a in opened[name].seen.arguments}
        assert shown == {
            (event["args"]["span_id"], f"args.{key}"): str(value)
            for event in opened[name].events
            for key, value in event["args"].items()
        }


@perfetto.needs_perfetto
def test_tracks_are_named_and_in_order(opened: dict[str, Opened]) -> None:
    for name in OWN:
        (process,) = opened[name].seen.tracks
        pid = opened[name].events[0]["pid"]
        titles = {(e["name"], e["tid"]): e["args"].get("name") for e in opened[name].metadata}
        assert process["name"] == f"{titles['process_name', 0]} {pid}"
        threads = sorted((tid != pid, tid) for kind, tid in titles if kind == "thread_name")
        assert [one["name"] for one in process["inside"]] == [
            f"{titles['thread_name', tid]} {tid}" for _, tid in threads
        ]
    names = [one["name"] for one in opened["sessions"].seen.tracks[0]["inside"]]
    assert [name for name in names if name.startswith("npu")] == [
        f"npu0pe{pe} {engine} {10_000_000 + 1000 * i + offset}"
        for i, engine in enumerate(("compute", "DMA", "I/O", "host (modelled)"))
        for pe, offset in (("0", 0), ("1", 1), ("0-1", 500))
    ]

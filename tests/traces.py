"""Reads Chrome traces, and checks that they are sound."""

import json
from pathlib import Path
from typing import Any

Event = dict[str, Any]
NPU_TRACKS = 10_000_000


def read(path: Path | str) -> list[Event]:
    """The complete events of a sound trace."""
    return check(json.loads(Path(path).read_bytes()))


def check(trace: dict[str, Any]) -> list[Event]:
    assert trace["otherData"]["dropped_events"] == 0
    named = {(e["pid"], e["tid"]) for e in trace["traceEvents"] if e["name"] == "thread_name"}
    events = [one for one in trace["traceEvents"] if one["ph"] == "X"]
    assert {one["ph"] for one in trace["traceEvents"]} <= {"X", "M"}
    assert {(one["pid"], one["tid"]) for one in events} == named
    assert {one["cat"] for one in events} <= {"Runtime", "NPU"}
    assert all(one["dur"] >= 0 for one in events)
    spans = [one["args"]["span_id"] for one in events]
    assert len(set(spans)) == len(spans)
    nested(events)
    return events


def nested(events: list[Event]) -> None:
    """Of two events on a track, one is inside of the other or they do not overlap."""
    open_until: dict[int, list[float]] = {}
    for one in sorted(events, key=lambda one: (one["tid"], one["ts"], -one["dur"])):
        stack = open_until.setdefault(one["tid"], [])
        end = one["ts"] + one["dur"]
        while stack and stack[-1] <= one["ts"] + 1e-3:
            stack.pop()
        assert not stack or end <= stack[-1] + 1e-3, one
        stack.append(end)


def runs(events: list[Event]) -> list[Event]:
    return [one for one in events if one["name"] == "Inference"]

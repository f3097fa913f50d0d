"""What the sessions of a process did, and the summary of it."""

import json
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from furiosa_ep.provider.library import EP_NAME


@dataclass
class SessionRecord:
    """One InferenceSession; the counters grow with its runs."""

    model: str
    """The file name of the model, or its size where it was given as bytes."""
    nodes: Counter[str] = field(default_factory=Counter)
    """How many nodes each provider runs."""
    runs: int = 0
    seconds: float = 0.0
    """Time in runs, without that in first runs of a combination of input shapes."""
    first_runs: int = 0
    first_seconds: float = 0.0
    """First runs, in which Programs are compiled and memory is reserved."""
    cpu_seconds: float = 0.0
    """Time of the CPU provider in the runs of `seconds`."""
    compared: int = 0
    """Outputs that were compared with the CPU provider's."""
    differences: list[str] = field(default_factory=list)
    problem: str = ""
    """Why runs could not be compared."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._shapes: set[Any] = set()

    @property
    def share(self) -> float:
        """The part of the nodes that FuriosaProvider runs."""
        total = self.nodes.total()
        return self.nodes[EP_NAME] / total if total else 0.0

    def count(self, shapes: Any, seconds: float, cpu_seconds: float = 0.0) -> None:
        """Add one run with inputs of these shapes."""
        with self._lock:
            if shapes in self._shapes:
                self.runs += 1
                self.seconds += seconds
                self.cpu_seconds += cpu_seconds
            else:
                self._shapes.add(shapes)
                self.first_runs += 1
                self.first_seconds += seconds

    def compare(self, outputs: int, differences: list[str]) -> None:
        """Add the comparison of one run's outputs."""
        with self._lock:
            self.compared += outputs
            self.differences += differences

    def to_json(self) -> dict[str, Any]:
        """The record as JSON types."""
        return {
            "model": self.model,
            "nodes": dict(self.nodes),
            "runs": self.runs,
            "seconds": self.seconds,
            "first_runs": self.first_runs,
            "first_seconds": self.first_seconds,
            "cpu_seconds": self.cpu_seconds,
            "compared": self.compared,
            "differences": self.differences,
            "problem": self.problem,
        }


class ProcessRecord:
    """The sessions of one process; a forked child starts with none."""

    def __init__(self) -> None:
        self.sessions: list[SessionRecord] = []
        os.register_at_fork(after_in_child=self.sessions.clear)

    def finish(self, report: str | None, write: Any) -> None:
        """Write the summary with `write`, and the records to the file `report`, if any were."""
        if not self.sessions:
            return
        for line in self.summary():
            write(f"furiosa run: {line}\n")
        if report is not None:
            text = json.dumps([session.to_json() for session in self.sessions])
            with Path(report).open("a") as file:
                file.write(text + "\n")

    def summary(self) -> list[str]:
        """A line per session, and one of all where there are several."""
        lines = [_line(session.model, session) for session in self.sessions]
        if len(self.sessions) > 1:
            lines.append(_line(f"{len(self.sessions)} sessions", _total(self.sessions)))
        return lines


def _total(sessions: list[SessionRecord]) -> SessionRecord:
    total = SessionRecord("")
    for session in sessions:
        total.nodes.update(session.nodes)
        for name in ("runs", "seconds", "first_runs", "first_seconds", "cpu_seconds", "compared"):
            setattr(total, name, getattr(total, name) + getattr(session, name))
        total.differences += session.differences
    return total


def _line(name: str, session: SessionRecord) -> str:
    runs = session.runs + session.first_runs
    parts = [
        f"{name}: {session.nodes[EP_NAME]} of {session.nodes.total()} nodes "
        f"({session.share:.1%}) on the NPU",
        f"{_counted(runs, 'run')} in {_time(session.seconds + session.first_seconds)}",
    ]
    if session.first_runs and session.runs:
        parts[-1] += f", {_time(session.first_seconds)} of it in first runs of a shape"
    if session.compared:
        verdict = (
            f"{_counted(len(session.differences), 'difference')}, the first in "
            f"{session.differences[0]}"
            if session.differences
            else "equal the CPU provider's on every bit"
        )
        parts.append(f"{_counted(session.compared, 'output')}: {verdict}")
    if session.compared and session.runs:
        parts.append(
            f"later runs took {_time(session.seconds)}, on the CPU provider "
            f"{_time(session.cpu_seconds)}"
        )
    if session.problem:
        parts.append(session.problem)
    return "; ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"

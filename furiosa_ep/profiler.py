"""Profiles of what sessions run: record, pause, look (docs/profiling.md).

    from furiosa_ep.profiler import profile

    with profile() as profiler:
        session.run(None, inputs)
    profiler.print_summary()

The interface of `furiosa.runtime.profiler`. Data frames need pandas: `furiosa-ep[profiler]`.
"""

import contextlib
import enum
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median, quantiles
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from furiosa_ep.device_emulator.recording import CPU, NPU, Recording

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Profiler", "RecordFormat", "Resource", "profile"]

COLUMNS = (
    "trace_id",
    "parent_span_id",
    "span_id",
    "start",
    "end",
    "cat",
    "name",
    "thread.id",
    "dram_base",
    "pe_index",
    "execution_index",
    "instruction_index",
    "operator_index",
    "dur",
    "operators",
    "bytes",
    "clock_permille",
    "error",
)
"""Of data frames; times are in nanoseconds."""
_TEXTS = ("cat", "name", "operators", "error")

Row = dict[str, Any]
"""An event, by column; None for what it does not have."""


class Resource(enum.Flag):
    """What a profile shows."""

    Cpu = CPU
    """What the host does, and what that of a real NPU would do at the borders."""
    Npu = NPU
    """What the modelled NPU does."""
    All = CPU | NPU


class RecordFormat(enum.Enum):
    """What a profile is recorded for."""

    ChromeTrace = "chrome"
    """The file, where one is given; frames and tables are to be had all the same."""
    PandasDataFrame = "pandas"


def profile(
    resource: Resource = Resource.All,
    format: RecordFormat = RecordFormat.ChromeTrace,  # noqa: A002 - as furiosa.runtime has it
    file: str | os.PathLike[str] | IO[Any] | None = None,
) -> "Profiler":
    """A context that records all sessions of the process.

    Args:
        resource: what the profile shows.
        format: what it is for.
        file: where the Chrome trace is written when the context ends: a path or an open file.

    Raises:
        ValueError: where data frames are asked for and a file is given.
    """
    if format is RecordFormat.PandasDataFrame and file is not None:
        raise ValueError(f"file={file!r}: expected RecordFormat.ChromeTrace where a file is given")
    return Profiler(resource, file)


class Profiler:
    """What has been recorded; made by `profile`. It can be looked at at any time."""

    def __init__(
        self,
        resource: Resource = Resource.All,
        file: str | os.PathLike[str] | IO[Any] | None = None,
    ) -> None:
        self._resource = resource
        self._file = file
        self._recording = Recording()
        self._recorded = False

    def __enter__(self) -> "Profiler":
        self.resume()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pause()
        if self._file is not None:
            self._write(self._file)

    def pause(self) -> None:
        """Record no run and no span that begins from now on."""
        self._recorded = False
        self._recording.record(False)

    def resume(self) -> None:
        """Record again."""
        self._recording.record(True)
        self._recorded = True

    @contextlib.contextmanager
    def record(self, name: str) -> Iterator[None]:
        """A context whose time appears in the profile under this name, on its thread."""
        recorded, start = self._recorded, time.monotonic_ns()
        try:
            yield
        finally:
            if recorded and Resource.Cpu in self._resource:
                self._recording.span(name, start, time.monotonic_ns())

    def export_chrome_trace(self, filename: str | os.PathLike[str]) -> None:
        """Write the profile to a file that opens in Perfetto."""
        self._write(filename)

    def get_pandas_dataframe(self) -> "pd.DataFrame":
        """The events by start, with the columns `COLUMNS`.

        Raises:
            ImportError: where pandas is not installed.
        """
        return _frame(self._rows(self._resource))

    def get_cpu_pandas_dataframe(self) -> "pd.DataFrame":
        """The events of the category Runtime."""
        return _frame(self._rows(self._resource & Resource.Cpu))

    def get_npu_pandas_dataframe(self) -> "pd.DataFrame":
        """The events of the category NPU."""
        return _frame(self._rows(self._resource & Resource.Npu))

    def get_pandas_dataframe_with_filter(self, column: str, value: object) -> "pd.DataFrame":
        """The events that have a value in a column.

        Raises:
            ValueError: where there is no such column.
        """
        if column not in COLUMNS:
            raise ValueError(f"column {column!r}: expected one of {', '.join(COLUMNS)}")
        return _frame([row for row in self._rows(self._resource) if row[column] == value])

    def print_summary(self) -> None:
        """Print how long runs took on this host, and how long they would take the NPU."""
        inferences = self._named("Inference")
        failed = sum(row["error"] is not None for row in inferences)
        print("Inference Results Summary")
        for what, times in (
            ("inference", [row["dur"] for row in inferences if row["error"] is None]),
            ("NPU execution (modelled)", [row["total"] for row in self._executions()]),
        ):
            print(f"{what[0].upper()}{what[1:]} count: {len(times)}")
            for name, value in _statistics(times):
                print(f"  {name} (ns): {value}")
        if failed:
            print(f"Failed: {failed}")

    def print_inferences(self) -> None:
        """Print the runs."""
        _print(("trace_id", "span_id", "thread.id", "dur"), self._named("Inference"))

    def print_npu_executions(self) -> None:
        """Print what runs take the NPU: all of it, computing, and waiting for data meanwhile."""
        names = ("trace_id", "span_id", "pe_index", "execution_index", "NPU Total", "NPU Run")
        _print(
            (*names, "NPU IoWait"),
            (
                {**row, "NPU Total": row["total"], "NPU Run": row["run"], "NPU IoWait": row["wait"]}
                for row in self._executions()
            ),
        )

    def print_npu_operators(self) -> None:
        """Print what the operators take the NPU on average, the longest in all first."""
        times: dict[str, list[int]] = {}
        for row in self._rows(self._resource & Resource.Npu):
            if row["name"].startswith("LowLevel"):
                times.setdefault(row["name"], []).append(row["dur"])
        longest = sorted(times.items(), key=lambda item: -sum(item[1]))
        _print(
            ("name", "average elapsed (ns)", "count"),
            (
                {"name": name, "average elapsed (ns)": f"{mean(own):.1f}", "count": len(own)}
                for name, own in longest
            ),
        )

    def print_external_operators(self) -> None:
        """Print what the host of a real NPU would do: quantize, and change layouts."""
        rows = self._rows(self._resource & Resource.Cpu)
        _print(
            ("trace_id", "span_id", "name", "operator_index", "dur"),
            (row for row in rows if row["pe_index"] is not None),
        )

    def _rows(self, resource: Resource) -> list[Row]:
        if not resource:
            return []
        trace = json.loads(self._recording.chrome_trace(resource.value))
        rows = [_row(event) for event in trace["traceEvents"] if event["ph"] == "X"]
        return sorted(rows, key=lambda row: row["start"])

    def _named(self, name: str) -> list[Row]:
        return [row for row in self._rows(self._resource) if row["name"] == name]

    def _executions(self) -> Iterator[Row]:
        rows = self._rows(self._resource & Resource.Npu)
        computing: dict[int, int] = {}
        for row in rows:
            if row["name"].startswith("LowLevel"):
                parent = row["parent_span_id"]
                computing[parent] = computing.get(parent, 0) + row["dur"]
        for row in rows:
            if row["name"] == "Execution":
                run = computing.get(row["span_id"], 0)
                yield {**row, "total": row["dur"], "run": run, "wait": row["dur"] - run}

    def _write(self, file: str | os.PathLike[str] | IO[Any]) -> None:
        trace = self._recording.chrome_trace(self._resource.value)
        if isinstance(file, str | os.PathLike):
            Path(file).write_bytes(trace)
        else:
            file.write(trace.decode() if hasattr(file, "encoding") else trace)


def _row(event: dict[str, Any]) -> Row:
    start, duration = round(event["ts"] * 1000), round(event["dur"] * 1000)
    known = {
        **event["args"],
        "start": start,
        "end": start + duration,
        "dur": duration,
        "cat": event["cat"],
        "name": event["name"],
        "thread.id": event["tid"],
    }
    return {column: known.get(column) for column in COLUMNS}


def _frame(rows: Sequence[Row]) -> "pd.DataFrame":
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("data frames need pandas: pip install furiosa-ep[profiler]") from error
    types = {name: "string" if name in _TEXTS else "Int64" for name in COLUMNS}
    columns = {name: pd.array([row[name] for row in rows], types[name]) for name in COLUMNS}
    return pd.DataFrame(columns)


def _statistics(times: Sequence[int]) -> Iterator[tuple[str, int]]:
    if not times:
        return
    yield from (("min", min(times)), ("max", max(times)), ("median", round(median(times))))
    cuts = quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
    for percent in (90, 95, 99):
        yield f"{percent}th percentile", round(cuts[percent - 1])


def _print(columns: Sequence[str], rows: Iterable[Row]) -> None:
    lines = [columns, *([str(row[name]) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.rjust, line, widths)))

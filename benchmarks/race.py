"""Runs every engine on every model, and compares the NPU with the best of its peers."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bursts import BURST, measure
from benchmarks.engines import ENGINES, Engine, Run
from benchmarks.models import TOPOLOGIES, macs
from benchmarks.peak import Peak
from benchmarks.prepare import feeds, prepare

NPU = "FuriosaProvider uint8"


@dataclass(frozen=True)
class Setting:
    """How the engines run."""

    batch: int = 1
    threads: int = 1
    """Of a run."""
    parallel: int = 1
    """Sessions that run at once."""

    def __str__(self) -> str:
        sessions = f"{self.parallel} sessions of " if self.parallel > 1 else ""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"batch {self.batch}, {sessions}{threads}"


LATENCY = (Setting(threads=1), Setting(threads=2))
THROUGHPUT = (Setting(parallel=2), Setting(batch=8), Setting(batch=8, threads=2))


@dataclass(frozen=True)
class Result:
    """An engine on a model. Times are seconds for one run; with several sessions, a session's."""

    engine: str
    median: float
    p90: float
    runs: int
    dropped: float
    """The share of bursts that were dropped because something else ran."""


@dataclass(frozen=True)
class Race:
    """All engines on one model in one setting."""

    model: str
    setting: Setting
    macs: int
    """Multiply-adds of a run."""
    peak: float | None
    """Multiply-adds a second of as many processors as the setting uses, measured meanwhile."""
    results: tuple[Result, ...]

    def result(self, engine: str) -> Result:
        """The result of an engine; raises KeyError where it did not take part."""
        for result in self.results:
            if result.engine == engine:
                return result
        raise KeyError(engine)

    @property
    def best_peer(self) -> Result:
        """The fastest of the others."""
        peers = {engine.name for engine in ENGINES if engine.is_peer}
        return min((r for r in self.results if r.engine in peers), key=lambda r: r.median)

    @property
    def ratio(self) -> float:
        """The NPU's time over the best peer's: below 1 it is faster."""
        return self.result(NPU).median / self.best_peer.median

    def share_of_peak(self, engine: str) -> float | None:
        """How much of the processors' multiplications the engine used; None if not known."""
        if self.peak is None:
            return None
        work = self.macs * self.setting.parallel
        return work / self.result(engine).median / self.peak


def geometric_mean(ratios: Iterable[float]) -> float:
    """The mean that does not depend on which side is the unit."""
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logarithms) / len(logarithms))


def run(
    names: Sequence[str],
    settings: Sequence[Setting],
    engines: Sequence[Engine],
    peak: Peak,
    seconds: float,
    folder: Path,
) -> Iterator[Race]:
    """Run the race for each model in each setting, for about so many seconds each."""
    for setting in settings:
        for name in names:
            yield _race(name, setting, engines, peak, seconds, folder)


def _race(
    name: str,
    setting: Setting,
    engines: Sequence[Engine],
    peak: Peak,
    seconds: float,
    folder: Path,
) -> Race:
    model = TOPOLOGIES[name](setting.batch)
    inputs = feeds(model)
    runs: dict[str, Run] = {}
    repeats: dict[str, int] = {}
    for engine in engines:
        data = prepare(name, setting.batch, engine.kind, folder)
        sessions = engine.runtime(data, inputs, setting.threads, setting.parallel)
        runs[engine.name], repeats[engine.name] = _together(sessions)
    busy = setting.threads * setting.parallel
    if peak.available:
        runs["peak"], repeats["peak"] = peak.runner(busy), 1
    timings = measure(runs, busy, seconds)
    results = tuple(
        Result(
            engine.name,
            timings[engine.name].median / repeats[engine.name],
            timings[engine.name].p90 / repeats[engine.name],
            len(timings[engine.name].runs),
            timings[engine.name].dropped / timings[engine.name].bursts,
        )
        for engine in engines
    )
    rate = peak.rate(busy, timings["peak"].median) if peak.available else None
    return Race(name, setting, macs(model), rate, results)


def _together(sessions: Sequence[Run]) -> tuple[Run, int]:
    """One callable that runs all sessions side by side, and how often it runs each of them."""
    if len(sessions) == 1:
        return sessions[0], 1
    pool = ThreadPoolExecutor(len(sessions))

    def each(repeat: int) -> None:
        for future in [pool.submit(_repeat, session, repeat) for session in sessions]:
            future.result()

    each(1)
    timing = measure({"once": lambda: each(1)}, len(sessions), 0)["once"]
    repeat = max(1, round(BURST / timing.median))
    return lambda: each(repeat), repeat


def _repeat(run: Callable[[], object], times: int) -> None:
    for _ in range(times):
        run()

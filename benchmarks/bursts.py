"""Times callables against one another in interleaved bursts, on a machine that others use, too.

Every round runs each callable for one burst, so that what slows the machine down slows all of
them down. A burst starts when the process has come to rest (threads that wait actively for the
work of one engine would take the processor from the next) and with a run that is not counted, to
bring code and data into the caches. A burst is dropped if something else used the processors.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BURST = 0.05
"""Seconds that a burst lasts; at least one run fits in."""
FEWEST_ROUNDS = 3

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_STAT = Path("/proc/stat")


@dataclass
class Timing:
    """The runs of one callable, in seconds."""

    runs: list[float] = field(default_factory=list)
    bursts: int = 0
    dropped: int = 0
    disturbed: list[float] = field(default_factory=list)
    """The runs of dropped bursts."""

    @property
    def median(self) -> float:
        """Of the runs in undisturbed bursts; of all runs, if every burst was disturbed."""
        return float(np.median(self.runs or self.disturbed))

    @property
    def p90(self) -> float:
        """The 90th percentile of the same runs."""
        return float(np.percentile(self.runs or self.disturbed, 90))


def measure(
    callables: Mapping[str, Callable[[], object]], threads: int, seconds: float
) -> dict[str, Timing]:
    """Time each callable for about its share of `seconds`; it keeps `threads` processors busy."""
    timings = {name: Timing() for name in callables}
    order = list(callables)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < end:
        for name in order:
            _burst(callables[name], threads, timings[name])
        order = [*order[1:], order[0]]  # nobody always follows the same one
        rounds += 1
    return timings


def _burst(run: Callable[[], object], threads: int, timing: Timing) -> None:
    settle()
    run()
    watch = Watch(threads)
    runs: list[float] = []
    end = time.perf_counter() + BURST
    while not runs or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        runs.append(time.perf_counter() - start)
    timing.bursts += 1
    if watch.disturbed():
        timing.dropped += 1
        timing.disturbed += runs
    else:
        timing.runs += runs


def settle(most: float = 0.1) -> None:
    """Wait until no thread of this process works any more, or `most` seconds."""
    end = time.perf_counter() + most
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.002)
        if time.process_time() - before < 0.0005:
            return


class Watch:
    """Notices whether anything else used the processors since it was made."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._wall, self._own = time.perf_counter(), time.process_time()
        self._busy = busy_time()

    def disturbed(self) -> bool:
        """With one thread: the process got less than 97 % of a processor, or used a second one.

        With several: others used more than 4 % of the time, beyond a tick of the clock.
        """
        wall = time.perf_counter() - self._wall
        own = time.process_time() - self._own
        if self._threads == 1:
            return not 0.97 <= own / wall <= 1.05
        foreign = busy_time() - self._busy - own
        return foreign > 2 * _TICK + 0.04 * wall * self._threads


def busy_time() -> float:
    """Seconds that all processors together have worked, or that the host took; 0 if unknown."""
    try:
        fields = _STAT.read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) * _TICK

"""The peak of the machine: how fast it multiplies when it does nothing else."""

import argparse
import ctypes
from collections.abc import Callable
from pathlib import Path


class Peak:
    """The library that `make bench` builds, which keeps threads busy with vpdpbusd alone."""

    def __init__(self, library: Path) -> None:
        """Raises OSError where there is no library."""
        self._library = ctypes.CDLL(str(library))
        self._library.furiosa_peak_work.restype = ctypes.c_uint64
        self._library.furiosa_peak_run.restype = None

    @staticmethod
    def add_argument(parser: argparse.ArgumentParser) -> None:
        """Let the command line say where the library is."""
        folder = Path("build/bench/native/benchmarks/native")
        parser.add_argument("--peak", type=Path, default=folder / "libfuriosa_peak.so")

    @classmethod
    def of(cls, arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> "Peak":
        """The library that the command line names; ends the program where it is not there."""
        if not arguments.peak.exists():
            parser.error(f"no library {arguments.peak}: make build/bench/native builds it")
        return cls(arguments.peak)

    @property
    def available(self) -> bool:
        """Whether the CPU has AVX-512 VNNI."""
        return self._work() > 0

    def runner(self, threads: int) -> Callable[[], object]:
        """One burst of multiplications on `threads` threads."""
        return lambda: self._library.furiosa_peak_run(threads)

    def rate(self, threads: int, seconds: float) -> float:
        """Multiply-adds a second of all threads together, if `runner` takes so many seconds."""
        return self._work() * threads / seconds

    def _work(self) -> int:
        return int(self._library.furiosa_peak_work())

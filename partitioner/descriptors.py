"""What plugins give beside operators and kernels; every descriptor is frozen.

`owner` is filled in by the plugin manager.
"""

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # so that the command line, which needs CliCommand alone, starts fast
    import argparse

    import numpy as np
    import numpy.typing as npt

    from furiosa_ep.device_emulator.target import Target
    from furiosa_ep.graph import DeviceGraph, Graph
    from furiosa_ep.partitioner.support import Builder, NodeUnit

API_VERSION = 1
"""The version of the hooks and of all descriptors (docs/plugins/versioning.md)."""


@dataclass(frozen=True)
class PluginInfo:
    """What a plugin is."""

    name: str
    """That of its entry point."""
    version: str
    """Of the plugin, for people."""
    api_version: int = API_VERSION
    """The version of the hooks that it was written for."""
    targets: tuple[str, ...] = ()
    """The targets that it is for, like `warboy`; none named: all."""


@dataclass(frozen=True)
class Lowering:
    """Another way to lower an operator: the one with the highest priority is taken.

    That of an `OperatorSupport` counts with the priority of its support.
    """

    op_type: str
    """The operator, as its support names it."""
    lower: Callable[["NodeUnit", "Builder"], None]
    """Emits the device operations of a unit."""
    domain: str = ""
    """The operator's domain; "" for ONNX's own."""
    since: int = 1
    """The lowest opset of the domain that `lower` is for."""
    until: int | None = None
    """The highest one; None where all later opsets are fine."""
    priority: int = 0
    """Of several lowerings the highest one is taken."""
    kernels: tuple[str, ...] = ()
    """The opcodes of the kernels that it emits calls of."""
    owner: str = ""


class Stage(enum.StrEnum):
    """Where a pass runs: stages in this order, the passes of a stage by `before` and `after`."""

    SIMPLIFY = "simplify"
    """On what the lowerings have emitted: merges functions of one value, composes tables."""
    FUSE = "fuse"
    """Moves tables, residual additions and slices into the operations beside them."""
    FINISH = "finish"
    """On the graph that the code generator reads, but for what passes of this stage change."""


@dataclass(frozen=True)
class GraphPass:
    """A rewrite of the device graph in place, with equal results.

    That of a plugin works on a copy. It is kept where the copy is well formed and has the same
    inputs and outputs; otherwise it is dropped with a warning. What nothing reads is removed
    behind it.
    """

    name: str
    """Unique among all plugins."""
    run: Callable[["DeviceGraph"], None]
    """Changes the graph in place. Several threads may call it at once, each with another graph."""
    stage: Stage = Stage.SIMPLIFY
    """Where it runs."""
    before: tuple[str, ...] = ()
    """Names of passes that run later, where they exist."""
    after: tuple[str, ...] = ()
    """Names of passes that run earlier, where they exist."""
    owner: str = ""


@dataclass(frozen=True)
class CostModel:
    """Says what the NPU gains by taking a node unit."""

    name: str
    """Unique among all plugins."""
    gain: Callable[["NodeUnit", "Graph", "Target"], float | None]
    """In units of what a border of a partition costs; None leaves it to the model with the next
    lower priority, at last to the built-in one."""
    priority: int = 0
    """The highest one is asked first; the built-in model has 0."""
    owner: str = ""


@dataclass(frozen=True)
class Candidate:
    """A partition that may be taken."""

    units: tuple["NodeUnit", ...]
    """Connected with each other."""
    graph: "Graph"
    """The whole graph."""
    gain: float
    """The sum over its units, by the cost models."""


@dataclass(frozen=True)
class PartitionSelection:
    """Decides which partitions the NPU takes: a value of the provider option `claim`."""

    name: str
    """The value of the option."""
    takes: Callable[[Candidate], bool]
    owner: str = ""


class RangeCollector(Protocol):
    """Collects the range of one value of a float model over all samples."""

    def collect(self, array: "npt.NDArray[np.float32]") -> None:
        """Take note of the value in one sample, a read-only array."""

    def range(self) -> tuple[float, float]:
        """The least and the greatest number that the quantized value has to hold; both finite."""


class SampleCollector(Protocol):
    """A RangeCollector to which extremes and some numbers of each array suffice: the faster one."""

    def collect_sample(self, low: float, high: float, numbers: "npt.NDArray[np.float32]") -> None:
        """Take note of the value in one sample.

        `low` and `high` are its smallest and largest number, or zero where that is beyond them.
        `numbers` is an evenly drawn part of it, flat and read-only.
        """

    def range(self) -> tuple[float, float]:
        """The least and the greatest number that the quantized value has to hold; both finite."""


@dataclass(frozen=True)
class Calibrator:
    """A way to find the ranges of activations: a value of `Preset.calibration`."""

    name: str
    """The value of `calibration`."""
    collector: Callable[[], RangeCollector | SampleCollector]
    """Makes the collector of one value."""
    sample_size: int | None = None
    """About how many numbers of each array a SampleCollector is given; none at all for 0. None
    says that `collector` makes a RangeCollector, which is given all of them."""
    owner: str = ""


@dataclass(frozen=True)
class CliCommand:
    """A subcommand of `furiosa`."""

    name: str
    """As it is called: `furiosa NAME`."""
    help: str
    """One line for `furiosa --help`."""
    configure: Callable[["argparse.ArgumentParser"], None]
    """Declares its arguments."""
    execute: Callable[["argparse.Namespace"], int]
    """Runs it; gives the exit code, or raises CommandError."""
    description: str = ""
    """For `furiosa NAME --help`."""
    split: Callable[[Sequence[str]], tuple[list[str], list[str]]] | None = None
    """Divides the arguments into its own and those of a program that it runs, which `execute` finds
    as `program`; None where all are its own."""
    owner: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9-]*", self.name):
            raise ValueError(
                f"command {self.name!r}: expected lower-case letters, digits and hyphens"
            )


class CommandError(Exception):
    """What the user asked a command for cannot be done; the message says why and what to do."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code
        """The exit code."""


Descriptor = Any
"""One of the classes above, an OperatorSupport or a Kernel."""

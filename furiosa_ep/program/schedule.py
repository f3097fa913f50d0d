"""The modelled schedule of a Program, as the Program carries it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

EVENT = np.dtype(
    [
        ("command", "<u4"),
        ("engine", "u1"),
        ("reserved", "u1", (3,)),
        ("start", "<u8"),
        ("end", "<u8"),
        ("bytes", "<u8"),
    ]
)


class Engine(enum.IntEnum):
    """A part of the device, or beside it, that does one thing at a time."""

    COMPUTE = 0
    """The processing element; two fused ones are one engine."""
    DMA = 1
    """Between DRAM and SRAM."""
    IO = 2
    """Between the host's memory and DRAM, over PCI Express."""
    HOST = 3
    """The host's processor: quantization and changes of layout at the borders."""


class Event(NamedTuple):
    """What an engine does for one command."""

    command: int
    """Its place among the Program's commands."""
    engine: Engine
    start: int
    """In cycles of the device's clock, from the start of the run."""
    end: int
    bytes: int = 0
    """What is moved, where the engine moves data."""


@dataclass(frozen=True)
class Schedule:
    """What a device would do in one run of a Program; empty where nobody has modelled it.

    It never influences a result.
    """

    target: str = ""
    """The name of the device."""
    clock_hz: int = 0
    """0 where the schedule is empty."""
    pes: int = 0
    """How many processing elements work together; 0 where the schedule is empty."""
    dram_bytes: int = 0
    """What the Program needs on the device: constants, inputs, outputs and what is spilled."""
    events: Sequence[Event] = ()
    """By start; those of one engine do not overlap."""

    def records(self) -> npt.NDArray[Any]:
        """The events as the bytes of a Program have them."""
        records = np.zeros(len(self.events), EVENT)
        for name, column in zip(Event._fields, zip(*self.events, strict=True), strict=False):
            records[name] = column
        return records


def read_events(records: npt.NDArray[Any]) -> tuple[Event, ...]:
    """The events in an array of `EVENT`."""
    return tuple(
        Event(command, Engine(engine), start, end, size)
        for command, engine, start, end, size in records[list(Event._fields)].tolist()
    )

"""The modelled schedule of a Program, as the Program carries it."""

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


class Event(NamedTuple):
    """What an engine of the device does for one command."""

    command: int
    """Its place among the commands."""
    engine: int
    """0 compute, 1 DMA, 2 I/O with the host, 3 the host."""
    start: int
    """In cycles of the device's clock, from the start of the run."""
    end: int
    bytes: int
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
    return tuple(Event(*row) for row in records[list(Event._fields)].tolist())

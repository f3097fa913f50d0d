"""What the device does when, for one run of a Program."""

import enum
from typing import NamedTuple

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.program import Engine, Event


class Use(enum.StrEnum):
    """What a piece of SRAM holds."""

    ACTIVATION = "activation"
    WEIGHT = "weight"


class Allocation(NamedTuple):
    """A piece of SRAM that holds one thing for a time; of a fused device, of both PEs' SRAM."""

    name: str
    """Of the value or of the command whose weights it holds."""
    use: Use
    address: int
    size: int
    start: int
    """In cycles, as those of events."""
    end: int


class Schedule(NamedTuple):
    """One run of a Program on a device."""

    target: Target
    events: tuple[Event, ...]
    """By start; those of one engine do not overlap."""
    allocations: tuple[Allocation, ...]
    """Those that live at the same time do not overlap."""
    dram_bytes: int
    """What the Program needs there: constants, inputs, outputs and what is spilled at a time."""
    instruction_bytes: int
    spilled_bytes: int = 0
    """All that is spilled in a run: each value counts."""

    @property
    def cycles(self) -> int:
        """Those of compute and DMA together, from the first to the last: what the NPU takes."""
        own = [one for one in self.events if one.engine in (Engine.COMPUTE, Engine.DMA)]
        return max((one.end for one in own), default=0) - min((one.start for one in own), default=0)

    def busy(self, engine: Engine) -> int:
        """The cycles in which an engine works."""
        return sum(one.end - one.start for one in self.events if one.engine is engine)

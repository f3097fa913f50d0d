"""The timing model: what a real device would take for a Program. It never influences a result."""

from furiosa_ep.device_emulator.timing.border import BorderWork, border_work
from furiosa_ep.device_emulator.timing.parameters import PARAMETERS, Parameters
from furiosa_ep.device_emulator.timing.placement import MemoryLimitError, bytes_at_once
from furiosa_ep.device_emulator.timing.schedule import Allocation, Schedule, Use
from furiosa_ep.device_emulator.timing.scheduling import schedule_program

__all__ = [
    "PARAMETERS",
    "Allocation",
    "BorderWork",
    "MemoryLimitError",
    "Parameters",
    "Schedule",
    "Use",
    "border_work",
    "bytes_at_once",
    "schedule_program",
]

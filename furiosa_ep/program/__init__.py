"""The Program: the compiled artifact that the compiler writes and the device executes."""

from furiosa_ep.program.calls import CallValues
from furiosa_ep.program.opcodes import NAMES, OPCODES, OpcodeSchema
from furiosa_ep.program.program import (
    Binding,
    Command,
    DType,
    Program,
    ProgramError,
    Storage,
    Tensor,
)
from furiosa_ep.program.schedule import Engine, Event, Schedule

__all__ = [
    "NAMES",
    "OPCODES",
    "Binding",
    "CallValues",
    "Command",
    "DType",
    "Engine",
    "Event",
    "OpcodeSchema",
    "Program",
    "ProgramError",
    "Schedule",
    "Storage",
    "Tensor",
]

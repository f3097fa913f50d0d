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

__all__ = [
    "NAMES",
    "OPCODES",
    "Binding",
    "CallValues",
    "Command",
    "DType",
    "OpcodeSchema",
    "Program",
    "ProgramError",
    "Storage",
    "Tensor",
]

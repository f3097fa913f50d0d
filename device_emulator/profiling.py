"""Where the time of a Program goes: what each of its commands takes, and how much it computes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator.executor import Executable
from furiosa_ep.program import Program


@dataclass(frozen=True)
class CommandTime:
    """One command of a Program as it was measured."""

    index: int
    """Its place among the commands."""
    opcode: str
    """For CALL that of the kernel."""
    name: str
    """The ONNX nodes that it came from."""
    shapes: tuple[tuple[int, ...] | None, ...]
    """The dims of its operands, the result last; None for an absent one."""
    multiply_accumulates: int
    """Of integers by integers that the result needs, padding included: those of CONV and MATMUL.
    0 for the other opcodes, which compute in float or not at all."""
    nanoseconds: float
    """The median over the rounds."""


def profile_commands(
    program: bytes, inputs: Sequence[npt.ArrayLike], rounds: int = 20, threads: int = 1
) -> list[CommandTime]:
    """The commands of `program` in the order in which they run, measured by `Executable.profile`.

    Raises:
        ProgramError: where the executor refuses `program`.
        ValueError: where number, dtype or shape of the inputs is another.
    """
    times = np.median(Executable(program).profile(inputs, rounds, threads), axis=0).tolist()
    parsed = Program.from_bytes(program)
    dims = [tensor.dims for tensor in parsed.tensors]
    measured = []
    for index, (command, time) in enumerate(zip(parsed.commands, times, strict=True)):
        shapes = tuple(None if one is None else dims[one] for one in command.operands)
        work = _multiply_accumulates(command.opcode, shapes)
        opcode = parsed.kernel(command) if command.opcode == "CALL" else command.opcode
        measured.append(CommandTime(index, opcode, command.name, shapes, work, time))
    return measured


def _multiply_accumulates(opcode: str, shapes: Sequence[tuple[int, ...] | None]) -> int:
    if opcode == "CONV":
        _, of_one, *_ = (dims and dims[1:] for dims in shapes)
    elif opcode == "MATMUL":
        of_one, *_ = (dims and dims[-1:] for dims in shapes)
    else:
        return 0
    return math.prod(shapes[-1] or ()) * math.prod(of_one or ())

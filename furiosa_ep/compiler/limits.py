"""Whether a Program fits into the memories of a target: what the partitioner asks of shapes."""

import math
from collections.abc import Callable, Mapping

from furiosa_ep.compiler.errors import CompileError
from furiosa_ep.device_emulator.target import Target
from furiosa_ep.program import Command, Program

Dims = tuple[int, ...]


def check_memory(program: Program, target: Target) -> None:
    """Check what could not be checked before all shapes were known.

    Raises:
        CompileError: for a command whose smallest tile does not fit into SRAM, and for constants,
            inputs and outputs that do not fit into DRAM; says what it needs and what there is.
    """
    sram = target.sram_bytes * target.pes
    for command in program.commands:
        count = _TILES.get(command.opcode)
        tile = count(command, [_dims(program, one) for one in command.operands]) if count else 0
        if tile > sram:
            raise CompileError(
                f"{command.name}: memory-limit: what one result of {command.opcode} depends on "
                f"must fit into the {sram} bytes of SRAM of target {target.name}. Found: {tile} "
                "bytes; run it on smaller inputs, or leave it to the CPU with the option "
                "disabled_ops"
            )
    borders = (*program.inputs, *program.outputs)
    moved = sum(math.prod(one.shape) * one.dtype.numpy.itemsize for one in borders)
    needed = len(program.constants) + moved
    if needed > target.dram_bytes:
        raise CompileError(
            f"memory-limit: constants ({len(program.constants)} bytes), inputs and outputs "
            f"({moved} bytes) must fit into the {target.dram_bytes} bytes of DRAM of target "
            f"{target.name}; run the model on smaller inputs or batches"
        )


def _dims(program: Program, index: int | None) -> Dims:
    return () if index is None else program.tensors[index].dims


def _reduction(command: Command, operands: list[Dims]) -> int:
    count = int(command.attributes["count"])  # type: ignore[arg-type]
    return math.prod(operands[0][-count:]) if count else 1


_TILES: Mapping[str, Callable[[Command, list[Dims]], int]] = {
    "SOFTMAX": lambda _, operands: 2 * operands[0][-1],
    "LP_NORMALIZATION": lambda _, operands: 2 * operands[0][-1],
    "GLOBAL_AVERAGE_POOL": lambda _, operands: math.prod(operands[0][1:3]),
    "REDUCE": _reduction,
}
"""The bytes that one result depends on, for opcodes that read a whole axis; the timing model knows
those of products and windows."""

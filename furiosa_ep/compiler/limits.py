"""Whether a Program fits into the memories of a target: what the partitioner asks of shapes."""

import math
from collections.abc import Callable, Mapping

from furiosa_ep.compiler.errors import MemoryLimit
from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing import MemoryLimitError, schedule_program
from furiosa_ep.program import Command, Program, Schedule

Dims = tuple[int, ...]

_SMALLER = "Run it on smaller inputs, or leave it to the CPU with the option disabled_ops."


def check_memory(program: Program, target: Target) -> None:
    """Check what could not be checked before all shapes were known.

    Raises:
        MemoryLimit: for a command whose smallest tile does not fit into SRAM, and for constants,
            inputs and outputs that do not fit into DRAM; says what it needs and what there is.
    """
    sram = target.sram_bytes * target.pes
    for command in program.commands:
        count = _TILES.get(command.opcode)
        tile = count(command, [_dims(program, one) for one in command.operands]) if count else 0
        if tile > sram:
            raise MemoryLimit(
                f"{command.name}: what one result of {command.opcode} depends on must fit into "
                f"the {sram} bytes of SRAM of target {target.name}. Found: {tile} bytes.",
                _SMALLER,
            )
    borders = (*program.inputs, *program.outputs)
    moved = sum(math.prod(one.shape) * one.dtype.numpy.itemsize for one in borders)
    needed = len(program.constants) + moved
    if needed > target.dram_bytes:
        raise MemoryLimit(
            f"Constants ({len(program.constants)} bytes), inputs and outputs ({moved} bytes) must "
            f"fit into the {target.dram_bytes} bytes of DRAM of target {target.name}.",
            "Run the model on smaller inputs or batches.",
            needed,
        )


def schedule(program: Program, target: Target) -> Schedule:
    """What the target does when for a Program that fits into its memories.

    Raises:
        MemoryLimit: where it does not fit; says what it needs and what there is.
    """
    check_memory(program, target)
    try:
        modelled = schedule_program(program, target)
    except MemoryLimitError as error:
        raise MemoryLimit(f"{error} on target {target.name}.", _SMALLER) from error
    if modelled.dram_bytes > target.dram_bytes:
        raise MemoryLimit(
            f"Constants, inputs and outputs, and the values that SRAM has no room for, must fit "
            f"into the {target.dram_bytes} bytes of DRAM of target {target.name}. Found: "
            f"{modelled.dram_bytes} bytes.",
            "Run the model on smaller inputs or batches.",
            modelled.dram_bytes,
        )
    return Schedule(
        target.name,
        round(target.clock_hz),
        target.pes,
        modelled.dram_bytes,
        modelled.events,
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

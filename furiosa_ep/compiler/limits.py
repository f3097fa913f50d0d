"""What a target does when for a Program, if the Program fits into its memories."""

from furiosa_ep.compiler.errors import MemoryLimit
from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing import MemoryLimitError, border_work, schedule_program
from furiosa_ep.program import Program, Schedule

_SMALLER = "Run it on smaller inputs, or leave it to the CPU with the option disabled_ops."


def schedule(program: Program, target: Target) -> Schedule:
    """What the target does when for a Program that fits into its memories.

    Raises:
        MemoryLimit: where it does not fit; says what it needs and what there is.
    """
    try:
        modelled = schedule_program(program, target)
    except MemoryLimitError as error:
        raise MemoryLimit(f"{error} on target {target.name}.", _SMALLER) from error
    if modelled.dram_bytes > target.dram_bytes:
        constants, borders = len(program.constants), sum(one.bytes for one in border_work(program))
        spilled = modelled.dram_bytes - constants - borders
        raise MemoryLimit(
            f"Constants ({constants} bytes), inputs and outputs ({borders} bytes), and what SRAM "
            f"has no room for at a time ({spilled} bytes) must fit into the {target.dram_bytes} "
            f"bytes of DRAM of target {target.name}.",
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

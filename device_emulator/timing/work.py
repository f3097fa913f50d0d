"""What each command of a Program computes and moves."""

from dataclasses import dataclass
from math import prod

from furiosa_ep.device_emulator.timing.schedule import Engine
from furiosa_ep.program import Command, Program, Storage, Tensor

_HOST = frozenset({"QUANTIZE", "DEQUANTIZE"})


@dataclass(frozen=True, slots=True)
class Work:
    """What one command asks of the device."""

    engine: Engine
    """HOST for what runs beside the device, otherwise COMPUTE."""
    macs: int
    """Multiplications of 8-bit values."""
    elements: int
    """Of its result."""
    reads: int
    """Bytes of its operands that are activations."""
    writes: int
    """Bytes of its result."""
    constants: int
    """Bytes of weights, tables and indices."""


def work_of(program: Program, command: Command) -> Work:
    """The work of one of the Program's commands."""
    operands = [program.tensors[one] for one in command.operands if one is not None]
    *inputs, result = operands
    engine = Engine.COMPUTE
    if command.opcode in _HOST or (
        command.opcode == "COPY" and any(_is_border(one) for one in operands)
    ):
        engine = Engine.HOST
    return Work(
        engine=engine,
        macs=_macs(program, command, result),
        elements=prod(result.dims),
        reads=sum(size(one) for one in inputs if one.storage != Storage.CONSTANT),
        writes=size(result),
        constants=sum(size(one) for one in inputs if one.storage == Storage.CONSTANT),
    )


def size(tensor: Tensor) -> int:
    """The bytes of a tensor's elements."""
    return prod(tensor.dims) * tensor.dtype.numpy.itemsize


def _is_border(tensor: Tensor) -> bool:
    return tensor.storage in (Storage.INPUT, Storage.OUTPUT)


def _macs(program: Program, command: Command, result: Tensor) -> int:
    def dims(position: int) -> tuple[int, ...]:
        index = command.operands[position]
        return () if index is None else program.tensors[index].dims

    match command.opcode:
        case "CONV":
            return prod(result.dims) * prod(dims(1)[1:])
        case "CONV_TRANSPOSE":
            return prod(dims(0)) * prod(dims(1)[1:])
        case "MATMUL":
            return prod(result.dims) * dims(0)[-1]
        case "CALL":
            return 0
    return 0

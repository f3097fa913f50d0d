"""What happens to the tensors that enter and leave a Program, and how long it takes the host.

Quantize, Lower, Unlower and Dequantize run on the host's processor, once for each tensor. The
rates are fitted to published figures (docs/estimate.md says which), for no particular host.
"""

from collections.abc import Container, Iterator
from math import prod
from typing import NamedTuple

from furiosa_ep.program import Binding, DType, Program, Storage

QUANTIZE_FLOAT_SECONDS = 30e-9
"""For each number that is float32 when it enters."""
QUANTIZE_BYTE_SECONDS = 0.25e-9
"""For each number that is an 8-bit integer already."""
LOWER_SECONDS = 1.4e-9
"""For each number that enters, unless the NPU itself lowers the tensor."""
TENSOR_SECONDS = 50e-6
"""Once for each tensor that leaves."""
UNLOWER_SECONDS = 2.3e-9
"""For each number that leaves: Unlower and, where it leaves as float32, Dequantize."""
ALIGNMENT = 32
"""The NPU itself lowers a tensor whose last axis is a multiple of this."""


class BorderWork(NamedTuple):
    """What a tensor costs that enters or leaves a Program."""

    name: str
    entering: bool
    command: int
    """The first that reads it, or the last that writes it."""
    host_seconds: float
    bytes: int
    """What is transferred: 8 bits for each number that is quantized."""


def border_work(program: Program, as_bytes: Container[str] = ()) -> list[BorderWork]:
    """What the inputs and outputs of a Program cost, where these inputs come as bytes."""
    readers, writers = _users(program)
    entering = (
        BorderWork(one.name, True, readers.get(n, 0), _entering(one, as_bytes), _bytes(one))
        for n, one in enumerate(program.inputs)
    )
    leaving = (
        BorderWork(one.name, False, writers.get(n, 0), _leaving(one), _bytes(one))
        for n, one in enumerate(program.outputs)
    )
    return [*entering, *leaving]


def _users(program: Program) -> tuple[dict[int, int], dict[int, int]]:
    """The first command that reads each input, and the last one that writes each output."""
    readers: dict[int, int] = {}
    writers: dict[int, int] = {}
    for number, command in enumerate(program.commands):
        for index in _indices(program, command.operands[:-1], Storage.INPUT):
            readers.setdefault(index, number)
        for index in _indices(program, command.operands[-1:], Storage.OUTPUT):
            writers[index] = number
    return readers, writers


def _indices(program: Program, operands: tuple[int | None, ...], storage: Storage) -> Iterator[int]:
    tensors = (program.tensors[one] for one in operands if one is not None)
    return (one.index for one in tensors if one.storage == storage)


def _entering(binding: Binding, as_bytes: Container[str]) -> float:
    if binding.dtype not in (DType.F32, DType.U8, DType.I8):
        return 0.0
    is_float = binding.dtype == DType.F32 and binding.name not in as_bytes
    each = QUANTIZE_FLOAT_SECONDS if is_float else QUANTIZE_BYTE_SECONDS
    if binding.shape and binding.shape[-1] % ALIGNMENT:
        each += LOWER_SECONDS
    return prod(binding.shape) * each


def _leaving(binding: Binding) -> float:
    return TENSOR_SECONDS + prod(binding.shape) * UNLOWER_SECONDS


def _bytes(binding: Binding) -> int:
    size = 1 if binding.dtype == DType.F32 else binding.dtype.numpy.itemsize
    return prod(binding.shape) * size

"""Runs Programs with the reference kernels: slow, and right by definition."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.kernels.reference._registry import present
from furiosa_ep.program import Program, Storage, Tensor


def run_reference(program: Program, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """The outputs of `program` for `inputs`, computed in NumPy."""
    outputs = [np.zeros(binding.shape, binding.dtype.numpy) for binding in program.outputs]
    constants = np.frombuffer(program.constants, np.uint8)
    arena = np.zeros(program.arena_size, np.uint8)

    def storage(tensor: Tensor) -> npt.NDArray[Any]:
        match tensor.storage:
            case Storage.ARENA:
                return arena
            case Storage.CONSTANT:
                return constants
            case Storage.INPUT:
                return np.ascontiguousarray(inputs[tensor.index])
            case Storage.OUTPUT:
                return outputs[tensor.index]

    views = [view(tensor, storage(tensor)) for tensor in program.tensors]
    for command in program.commands:
        *operands, result = [None if one is None else views[one] for one in command.operands]
        REFERENCE[command.opcode](operands, command.attributes, present(result))
    return outputs


def view(tensor: Tensor, storage: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The strided view that `tensor` describes of a contiguous storage."""
    dtype = tensor.dtype.numpy
    flat = storage.reshape(-1).view(np.uint8)
    if 0 in tensor.dims:
        return np.empty(tensor.dims, dtype)
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    # Offset 0 of as_strided is the lowest element, so that negative strides stay inside.
    return np.ndarray(tensor.dims, dtype, flat.data, tensor.offset, strides)

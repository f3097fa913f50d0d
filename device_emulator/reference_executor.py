"""Runs Programs with the reference kernels: slow, and right by definition."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator.kernels import call_reference, registered_kernel
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.kernels.reference._registry import present
from furiosa_ep.program import Program, Storage, Tensor


def run_reference(program: Program, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """The outputs of `program` for `inputs`, computed in NumPy.

    Raises:
        KernelError: where it calls a kernel that is not registered.
    """
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
        if command.opcode == "CALL":
            kernel = registered_kernel(program.kernel(command))
            values = cast(tuple[int, ...], command.attributes["values"])
            call_reference(kernel, values, operands[1:], present(result))
        else:
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

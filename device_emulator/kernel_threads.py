"""Calls a native function of a kernel on several threads at once, without Python in between."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from furiosa_ep.device_emulator.executor import Executable
from furiosa_ep.device_emulator.guarded_call import CONCURRENCY
from furiosa_ep.device_emulator.kernels import register_kernel, unregister_kernel
from furiosa_ep.device_emulator.library import checksum
from furiosa_ep.kernels.kernel import Array, Kernel, KernelCase, NativeKernel
from furiosa_ep.program import Binding, CallValues, Command, DType, Program, Storage, Tensor
from furiosa_ep.program.program import ALIGNMENT

_SECONDS = 0.5
_MOST_CASES = 48
_MOST_COMMANDS = 2000
_MOST_BYTES = 1 << 22
_DTYPES = {one.numpy: one for one in DType}


class Expected(NamedTuple):
    """A call of a kernel, and what its reference makes of it."""

    case: KernelCase
    result: Array


def different(result: Array, expected: Array) -> Array:
    """Where the bits of two arrays differ; a NaN equals any other."""
    bits = f"u{expected.itemsize}"
    found: Array = np.ascontiguousarray(result).view(bits) != expected.view(bits)
    if expected.dtype.kind == "f":
        found &= ~(np.isnan(result) & np.isnan(expected))
    return found


def wrong_on_threads(
    kernel: Kernel, native: NativeKernel, expected: Sequence[Expected]
) -> list[Expected]:
    """The first of the calls that goes wrong when several threads make them at the same time.

    Each thread makes them in another order, many times.
    """
    calls = _chosen(expected)
    starts = [len(calls) * position // CONCURRENCY for position in range(CONCURRENCY)]
    register_kernel(dataclasses.replace(kernel, native=(native,)), kernel.owner or "check")
    try:
        with ThreadPoolExecutor(CONCURRENCY) as threads:
            found = threads.map(
                lambda start: _first_wrong(kernel, [*calls[start:], *calls[:start]]), starts
            )
            return [one for one in found if one is not None][:1]
    finally:
        unregister_kernel(kernel.opcode)


def _first_wrong(kernel: Kernel, calls: Sequence[Expected]) -> Expected | None:
    program, places = _program(kernel, calls)
    executable = Executable(program.to_bytes(checksum))
    expected = np.zeros(program.outputs[0].shape, np.int64).view(np.uint8)
    written = np.zeros(expected.shape, bool)
    for one, place in places:
        expected[place] = np.frombuffer(one.result.tobytes(), np.uint8)
        written[place] = True
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        found = executable.run([])[0].view(np.uint8)
        if not ((found != expected) & written).any():
            continue
        for one, place in places:
            result = found[place].view(one.result.dtype).reshape(one.result.shape)
            if different(result, one.result).any():
                return one
    return None


def _chosen(expected: Sequence[Expected]) -> list[Expected]:
    """The calls that take the longest, but no more than fit into a small Program."""
    chosen: list[Expected] = []
    room = _MOST_BYTES
    for one in sorted(expected, key=lambda one: -one.result.nbytes):
        arrays = [tensor.array for tensor in one.case.inputs if tensor is not None]
        size = sum(array.nbytes for array in arrays)
        if all(array.size for array in arrays) and size <= room:
            chosen.append(one)
            room -= size
    return chosen[:_MOST_CASES]


def _program(
    kernel: Kernel, calls: Sequence[Expected]
) -> tuple[Program, list[tuple[Expected, slice]]]:
    """A Program that makes the calls again and again, and where in its output each result is."""
    constants = bytearray()
    tensors: list[Tensor] = []

    def add(array: Array, storage: Storage, offset: int) -> int:
        strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).strides)
        tensors.append(Tensor(_DTYPES[array.dtype], storage, array.shape, strides, offset))
        return len(tensors) - 1

    def constant(array: Array) -> int:
        constants.extend(bytes(-len(constants) % ALIGNMENT))
        offset = len(constants)
        constants.extend(array.tobytes())
        return add(array, Storage.CONSTANT, offset)

    opcode = constant(np.frombuffer(kernel.opcode.encode(), np.uint8))
    prepared = [(one, *_arguments(kernel, one.case, constant)) for one in calls]
    commands: list[Command] = []
    places = []
    end = 0
    for one, inputs, attributes in itertools.cycle(prepared):
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        end = offset + one.result.nbytes
        if commands and (len(commands) == _MOST_COMMANDS or end > _MOST_BYTES):
            break
        output = add(one.result, Storage.OUTPUT, offset)
        commands.append(Command("CALL", (opcode, *inputs, output), attributes))
        places.append((one, slice(offset, end)))
    # Of words, so that elements of any size are aligned in it.
    y = Binding("y", DType.I64, (-(-places[-1][1].stop // DType.I64.numpy.itemsize),))
    return Program(tensors, commands, [], [y], constants, 0), places


def _arguments(
    kernel: Kernel, case: KernelCase, constant: Callable[[Array], int]
) -> tuple[list[int | None], Mapping[str, int | tuple[int, ...]]]:
    """The operands of a CALL, and its attributes."""
    quantization = [
        (1.0, 0) if one is None else (float(one.scale), one.zero_point)
        for one in (*case.inputs, case.output)
    ]
    attributes = [
        float(case.attributes[name]) if real else int(case.attributes[name])
        for name, real in kernel.attribute_names.items()
    ]
    words = CallValues(quantization, attributes).words()
    inputs = [None if one is None else constant(one.array) for one in case.inputs]
    return inputs, {"workspace": kernel.workspace_size(case.shapes), "values": words}

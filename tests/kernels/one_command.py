"""A Program of one command on views with gaps, in any order in memory, for native runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator import Executable, checksum, load_library
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.program import Binding, Command, DType, Program, Storage, Tensor
from tests.kernels.conv_case import CANARY, assert_same, run_into

Array = npt.NDArray[Any]
ISAS = ("scalar", "avx2", "avxvnni", "avx512vnni", "neon")
_DTYPES = {"f": DType.F32, "B": DType.U8, "b": DType.I8, "h": DType.I16, "i": DType.I32}


def available_isas() -> list[str]:
    """The instruction sets that this machine has."""
    library = load_library()
    best = library.furiosa_isa_name()
    found = [isa for isa in ISAS if library.furiosa_set_isa(isa.encode()) == 0]
    library.furiosa_set_isa(best)
    return found


def check_native(
    opcode: str,
    x: Array,
    constants: Sequence[Array | None],
    attributes: Mapping[str, Any],
    result: tuple[tuple[int, ...], type],
    rng: np.random.Generator,
    channels_innermost: bool = False,
) -> None:
    """Fails where the native command differs from the reference on any instruction set.

    The operands are x (an input) and the constants; `result` is dims and dtype of the result. The
    elements of x and of the result lie in a random order in memory with random gaps; where
    `channels_innermost`, only the gaps are random.
    """
    dims, dtype = result
    expected: Array = np.zeros(dims, dtype)
    REFERENCE[opcode]([x, *constants], attributes, expected)
    memory: list[Tensor] = []
    x_tensor = _view(x.shape, DType.U8, Storage.INPUT, rng, channels_innermost)
    y_tensor = _view(dims, _DTYPES[expected.dtype.char], Storage.OUTPUT, rng, channels_innermost)
    blob = bytearray()
    operands: list[int | None] = [0]
    memory.append(x_tensor)
    for constant in constants:
        if constant is None:
            operands.append(None)
            continue
        blob.extend(bytes(-len(blob) % 64))
        kind = _DTYPES[constant.dtype.char]
        strides = tuple(s // constant.itemsize for s in constant.strides)
        memory.append(Tensor(kind, Storage.CONSTANT, constant.shape, strides, len(blob)))
        blob.extend(constant.tobytes())
        operands.append(len(memory) - 1)
    memory.append(y_tensor)
    program = Program(
        tensors=memory,
        commands=[Command(opcode, (*operands, len(memory) - 1), attributes, "case")],
        inputs=[Binding("x", DType.U8, (_extent(x_tensor),))],
        outputs=[Binding("y", y_tensor.dtype, (_extent(y_tensor),))],
        constants=bytes(blob),
        arena_size=0,
    ).to_bytes(checksum)
    source = rng.integers(0, 256, _extent(x_tensor)).astype(np.uint8)
    _elements(source, x_tensor)[...] = x
    library = load_library()
    best = library.furiosa_isa_name()
    try:
        for isa in available_isas():
            library.furiosa_set_isa(isa.encode())
            size = _extent(y_tensor) * expected.itemsize
            buffer: Array = np.full(size, CANARY, np.uint8).view(dtype)
            run_into(Executable(program), [source], [buffer])
            actual = _elements(buffer, y_tensor)
            assert_same(np.ascontiguousarray(actual), expected, f"{opcode} on {isa}")
            untouched: Array = np.full(size, CANARY, np.uint8).view(dtype)
            _elements(untouched, y_tensor)[...] = expected
            assert buffer.tobytes() == untouched.tobytes(), f"{isa} wrote beside the result"
    finally:
        library.furiosa_set_isa(best)


def _view(
    dims: tuple[int, ...],
    dtype: DType,
    storage: Storage,
    rng: np.random.Generator,
    channels_innermost: bool,
) -> Tensor:
    order = list(range(len(dims)))
    if not channels_innermost and rng.integers(2):
        rng.shuffle(order)
    strides = [1] * len(dims)
    step = 1
    for place, axis in enumerate(reversed(order)):
        if place and rng.integers(3) == 0:
            step += int(rng.integers(1, 20))
        strides[axis] = step
        step *= dims[axis]
    if not channels_innermost and rng.integers(4) == 0 and dims:
        strides = [2 * stride for stride in strides]
    offset = int(rng.integers(0, 3)) * dtype.numpy.itemsize
    return Tensor(dtype, storage, dims, tuple(strides), offset)


def _extent(tensor: Tensor) -> int:
    """Elements from the start of the storage to the last element of the view."""
    last = sum((d - 1) * s for d, s in zip(tensor.dims, tensor.strides, strict=True))
    return tensor.offset // tensor.dtype.numpy.itemsize + last + 1


def _elements(buffer: Array, tensor: Tensor) -> Array:
    strides = [stride * buffer.itemsize for stride in tensor.strides]
    return np.ndarray(tensor.dims, buffer.dtype, buffer.data, tensor.offset, strides)

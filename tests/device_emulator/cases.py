"""Programs of one command on random views, run natively and with the reference kernels."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from furiosa_ep.device_emulator import checksum, load_library, run_reference
from furiosa_ep.device_emulator.guarded import GuardedBuffer
from furiosa_ep.device_emulator.library import last_error
from furiosa_ep.program import Binding, Command, DType, Program, Storage, Tensor

Array = npt.NDArray[Any]
ISAS = ("scalar", "avx2", "avxvnni", "avx512vnni", "neon")
CANARY = 0xA5


@dataclass(frozen=True)
class Layout:
    """Strides in elements, the offset of the first element, and how many the storage has."""

    strides: tuple[int, ...]
    offset: int
    size: int


def contiguous(dims: tuple[int, ...]) -> Layout:
    """The row-major layout."""
    strides = [1] * len(dims)
    for i in reversed(range(len(dims) - 1)):
        strides[i] = strides[i + 1] * dims[i + 1]
    return Layout(tuple(strides), 0, int(np.prod(dims)))


@st.composite
def layouts(draw: st.DrawFn, dims: tuple[int, ...], broadcast: bool = False) -> Layout:
    """Views of the dims: any order in memory, gaps, negative strides, stride 0 if `broadcast`."""
    if 0 in dims or draw(st.booleans()):
        return contiguous(dims)
    order = draw(st.permutations(range(len(dims))))
    strides, reach, low = [0] * len(dims), 1, 0
    for i in reversed(order):
        if broadcast and draw(st.integers(0, 3)) == 0:
            continue
        strides[i] = reach
        reach *= max(1, dims[i] + draw(st.sampled_from([0, 0, 0, 1, 3])))
        if draw(st.integers(0, 7)) == 0:
            low += strides[i] * max(0, dims[i] - 1)
            strides[i] = -strides[i]
    last = sum((dim - 1) * max(0, stride) for dim, stride in zip(dims, strides, strict=True))
    return Layout(tuple(strides), low, low + last + 1)


@dataclass
class Case:
    """A Program of one command, built operand by operand.

    The result is a view of the output `y`, which is filled with CANARY before: what lies between
    the elements of the view must stay so.
    """

    opcode: str
    attributes: Mapping[str, Any]
    tensors: list[Tensor] = field(default_factory=list)
    operands: list[int | None] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    inputs: list[Array] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)

    def input(self, values: Array, layout: Layout) -> None:
        """The next operand: an input whose storage holds `values`, one for each of its elements."""
        dtype = DType.F32 if values.dtype == np.float32 else DType.U8
        storage = np.resize(values.reshape(-1), layout.size).astype(values.dtype)
        self._operand(dtype, Storage.INPUT, values.shape, layout, len(self.bindings))
        self.bindings.append(Binding(f"x{len(self.bindings)}", dtype, (layout.size,)))
        self.inputs.append(storage)

    def constant(self, values: Array | None) -> None:
        """The next operand: a constant, or absent."""
        if values is None:
            self.operands.append(None)
            return
        self.constants.extend(bytes(-len(self.constants) % 64))
        layout = contiguous(values.shape)
        layout = Layout(layout.strides, len(self.constants) // values.itemsize, layout.size)
        dtypes = {"f": DType.F32, "B": DType.U8, "b": DType.I8, "h": DType.I16, "i": DType.I32}
        dtype = dtypes[values.dtype.char]
        self._operand(dtype, Storage.CONSTANT, values.shape, layout, 0)
        self.constants.extend(values.tobytes())

    def program(self, dims: tuple[int, ...], layout: Layout, dtype: DType = DType.U8) -> Program:
        """The Program whose result has these dims and this layout."""
        item = dtype.numpy.itemsize
        size = layout.size * item
        self._operand(dtype, Storage.OUTPUT, dims, layout, 0)
        canvas = Tensor(DType.U8, Storage.OUTPUT, (size,), (1,))
        fill = Command("FILL", (len(self.tensors),), {"value": CANARY})
        command = Command(self.opcode, tuple(self.operands), self.attributes, "case")
        output = Binding("y", dtype, (layout.size,))
        return Program(
            [*self.tensors, canvas], [fill, command], self.bindings, [output], self.constants, 0
        )

    def _operand(
        self,
        dtype: DType,
        storage: Storage,
        dims: tuple[int, ...],
        layout: Layout,
        index: int,
    ) -> None:
        offset = layout.offset * dtype.numpy.itemsize
        self.operands.append(len(self.tensors))
        self.tensors.append(Tensor(dtype, storage, dims, layout.strides, offset, index))


def run_native(program: Program, inputs: list[Array], isa: str | None = None) -> list[Array]:
    """The outputs, with every buffer ending where the next byte must not be touched."""
    library = load_library()
    data = program.to_bytes(checksum)
    assert library.furiosa_set_isa(isa.encode() if isa else None) == 0, last_error(library)
    handle = ctypes.c_void_p()
    try:
        status = library.furiosa_program_load(data, len(data), ctypes.byref(handle))
        assert status == 0, last_error(library)
    finally:
        library.furiosa_set_isa(None)
    sources = [GuardedBuffer(array.nbytes) for array in inputs]
    outputs = [
        GuardedBuffer(int(np.prod(one.shape)) * one.dtype.numpy.itemsize) for one in program.outputs
    ]
    for source, array in zip(sources, inputs, strict=True):
        source.bytes[:] = array.reshape(-1).view(np.uint8)
    status = library.furiosa_program_run(
        handle, _addresses(sources), len(sources), _addresses(outputs), len(outputs)
    )
    library.furiosa_program_free(handle)
    assert status == 0, last_error(library)
    return [
        buffer.bytes.copy().view(binding.dtype.numpy).reshape(binding.shape)
        for buffer, binding in zip(outputs, program.outputs, strict=True)
    ]


def _addresses(buffers: list[GuardedBuffer]) -> Any:
    return (ctypes.c_void_p * len(buffers))(*[buffer.address for buffer in buffers])


def available_isas() -> list[str]:
    """The instruction sets that this CPU has."""
    library = load_library()
    found = [isa for isa in ISAS if library.furiosa_set_isa(isa.encode()) == 0]
    library.furiosa_set_isa(None)
    return found


def check(program: Program, inputs: list[Array]) -> None:
    """Every instruction set gives what the reference kernels give, on every bit."""
    expected = run_reference(program, inputs)
    for isa in available_isas():
        for got, want in zip(run_native(program, inputs, isa), expected, strict=True):
            assert_same_bits(got, want, f"{isa}: {program.commands[-1]}")


def assert_same_bits(got: Array, want: Array, what: str) -> None:
    """Equal on every bit, but that any NaN equals any other."""
    bits = f"u{want.itemsize}"
    different = got.view(bits) != want.view(bits)
    if want.dtype == np.float32:
        different &= ~(np.isnan(got) & np.isnan(want))
    indices = np.flatnonzero(different)
    if indices.size:
        first = indices[0]
        raise AssertionError(
            f"{what}: {indices.size} of {want.size} differ, first at {first}: "
            f"{got.flat[first]!r}, expected {want.flat[first]!r}"
        )

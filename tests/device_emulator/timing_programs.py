"""Small Programs whose time can be told."""

from collections.abc import Sequence
from math import prod
from types import MappingProxyType
from typing import Any

from furiosa_ep.program import OPCODES, Binding, Command, DType, Program, Storage, Tensor
from furiosa_ep.program.program import ALIGNMENT

CONV = MappingProxyType(
    {name: 0.0 if name in OPCODES["CONV"].floats else 0 for name in OPCODES["CONV"].attributes}
    | {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "group": 1}
)


class ProgramWriter:
    """Writes a Program command by command; a value is the index of its tensor."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.commands: list[Command] = []
        self.inputs: list[Binding] = []
        self.outputs: list[Binding] = []
        self._arena = 0
        self._constants = 0

    def tensor(
        self,
        dims: Sequence[int],
        dtype: DType = DType.U8,
        storage: Storage = Storage.ARENA,
        within: Sequence[int] | None = None,
        offset: int | None = None,
        index: int = 0,
    ) -> int:
        """A tensor of these dims; at an offset, as a part of one of the dims `within`."""
        strides = [prod((within or dims)[n + 1 :]) for n in range(len(dims))]
        size = prod(dims) * dtype.numpy.itemsize
        if offset is None:
            offset = 0
            if storage == Storage.ARENA:
                offset, self._arena = self._arena, _aligned(self._arena + size)
            elif storage == Storage.CONSTANT:
                offset, self._constants = self._constants, _aligned(self._constants + size)
        self.tensors.append(Tensor(dtype, storage, tuple(dims), tuple(strides), offset, index))
        return len(self.tensors) - 1

    def constant(self, dims: Sequence[int], dtype: DType = DType.U8) -> int:
        """Bytes that come with the Program."""
        return self.tensor(dims, dtype, Storage.CONSTANT)

    def image(self, dims: Sequence[int]) -> int:
        """An image that the host quantizes, as rows, width and channels."""
        binding = Binding("x", DType.F32, (1, *dims))
        given = self.tensor(dims, DType.F32, Storage.INPUT, index=len(self.inputs))
        self.inputs.append(binding)
        x = self.tensor((1, *dims))
        self.command("QUANTIZE", given, x, scale=1.0, zero_point=0)
        return x

    def conv(
        self, x: int, columns: int, kernel: int = 1, *, y: int | None = None, group: int = 1
    ) -> int:
        """A convolution that keeps the size."""
        n, height, width, channels = self.tensors[x].dims
        if y is None:
            y = self.tensor((n, height, width, columns))
        weights = self.constant((columns, kernel, kernel, channels // group), DType.I8)
        bias, multiplier = (self.constant((columns,), one) for one in (DType.I32, DType.F32))
        operands = (x, weights, bias, multiplier, None, None, None, y)
        self.commands.append(Command("CONV", operands, {**CONV, "group": group}, "conv"))
        return y

    def output(self, x: int) -> None:
        """Let the host take a value."""
        dims = self.tensors[x].dims
        y = self.tensor(dims, DType.F32, Storage.OUTPUT, index=len(self.outputs))
        self.outputs.append(Binding("y", DType.F32, dims))
        self.command("DEQUANTIZE", x, y, scale=1.0, zero_point=0)

    def command(self, opcode: str, *operands: int | None, **attributes: Any) -> None:
        """Append any command."""
        self.commands.append(Command(opcode, operands, attributes, opcode.lower()))

    def program(self) -> Program:
        """What has been written."""
        constants = bytes(self._constants)
        return Program(
            self.tensors, self.commands, self.inputs, self.outputs, constants, self._arena
        )


def chain(height: int, width: int, layers: Sequence[tuple[int, int]], batch: int = 1) -> Program:
    """Convolutions one after the other, each given by its columns and its kernel's size."""
    writer = ProgramWriter()
    x = writer.image((batch * height, width, 16))
    for columns, kernel in layers:
        x = writer.conv(x, columns, kernel)
    writer.output(x)
    return writer.program()


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT

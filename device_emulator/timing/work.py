"""What each command of a Program computes and moves."""

from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple

from furiosa_ep.device_emulator.kernels import KernelError, registered_kernel
from furiosa_ep.device_emulator.timing.parameters import PARAMETERS, Parameters
from furiosa_ep.kernels.kernel import KernelCost
from furiosa_ep.program import Command, DType, Engine, Program, Storage, Tensor


class Shape(NamedTuple):
    """A result as the slices share it: rows, then columns; lines of values lie along the width."""

    rows: int
    width: int
    columns: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.rows * self.width * self.columns


class Loops(NamedTuple):
    """How the results of a command come about."""

    lines: int = 0
    """The lines of values that each line of a group of results needs: input channels times the rows
    of a filter, of twice the length for a stride of 2."""
    taps: int = 0
    """The values that each result needs: input channels of a group times the size of a filter."""
    group: int = 1
    """The columns that are computed from the same lines."""
    multiplies: bool = True
    """Whether the values are multiplied by weights; otherwise they are compared or added."""
    passes: float = 0
    """Bytes that are read or written for each element of the result, beside such lines."""
    commands: int = 1
    """Of the device's own commands."""
    at_once: int = 0
    """Bytes that must be there at once for a result, where it depends on a whole axis or image."""


class Work(NamedTuple):
    """What one command asks of the device."""

    engine: Engine
    """HOST for what runs beside the device, otherwise COMPUTE."""
    macs: int
    """Multiplications of 8-bit values."""
    reads: int
    """Bytes of its operands that are activations."""
    writes: int
    """Bytes of its result."""
    constants: int
    """Bytes of weights, tables and indices."""
    instructions: int
    """Bytes of the device's own commands."""
    shape: Shape
    loops: Loops


def work_of(program: Program, command: Command, parameters: Parameters = PARAMETERS) -> Work:
    """The work of one of the Program's commands."""
    tensors = [None if one is None else program.tensors[one] for one in command.operands]
    *inputs, result = [one for one in tensors if one is not None]
    kind = _KINDS[command.opcode]
    macs, shape, loops = kind(_Call(program, command, tensors, result, parameters))
    border = is_border(program, command)
    return Work(
        engine=Engine.HOST if border else Engine.COMPUTE,
        macs=macs,
        reads=sum(size(one) for one in inputs if one.storage != Storage.CONSTANT),
        writes=size(result),
        constants=sum(size(one) for one in inputs if one.storage == Storage.CONSTANT),
        instructions=0 if border else parameters.command_bytes * loops.commands,
        shape=shape,
        loops=loops,
    )


def is_border(program: Program, command: Command) -> bool:
    """Whether the host does it: it quantizes what enters, or changes only the layout there."""
    if command.opcode not in ("QUANTIZE", "DEQUANTIZE", "COPY"):
        return False
    first, last = command.operands[0], command.operands[-1]
    enters = first is not None and program.tensors[first].storage == Storage.INPUT
    leaves = last is not None and program.tensors[last].storage == Storage.OUTPUT
    return enters or leaves


def size(tensor: Tensor) -> int:
    """The bytes of a tensor's elements."""
    return prod(tensor.dims) * _ITEM_SIZES[tensor.dtype]


_ITEM_SIZES = {dtype: dtype.numpy.itemsize for dtype in DType}


class _Call(NamedTuple):
    """A command with its tensors, the result last."""

    program: Program
    command: Command
    tensors: list[Tensor | None]
    result: Tensor
    parameters: Parameters

    def dims(self, position: int) -> tuple[int, ...]:
        tensor = self.tensors[position]
        return () if tensor is None else tensor.dims

    @property
    def shape(self) -> Shape:
        """The last dim of the result is its columns, the one before that its width."""
        *rows, width, columns = (1, 1, *self.result.dims)
        return Shape(prod(rows), width, columns)

    @property
    def table_commands(self) -> int:
        """Those that the function of the result is, if there is one."""
        table = self.command.opcode != "CALL" and len(self.tensors) > 2 and self._table is not None
        return self.parameters.table_commands if table else 0

    @property
    def _table(self) -> Tensor | None:
        return self.tensors[-2] if self.command.opcode != "CONV" else self.tensors[4]


_Found = tuple[int, Shape, Loops]
_ELEMENTWISE = 2
"""The bytes that a function of one value reads and writes."""


def _conv(call: _Call) -> _Found:
    group = int(call.command.attributes["group"])  # type: ignore[arg-type]
    _, height, width, channels = call.dims(1)
    stride = int(call.command.attributes["stride_w"])  # type: ignore[arg-type]
    shape, taps = call.shape, height * width * channels
    residual = call.tensors[5] is not None
    loops = Loops(
        lines=channels * height * stride,
        taps=taps,
        group=max(1, shape.columns // group),
        passes=_ELEMENTWISE * call.table_commands + (_ELEMENTWISE + 1) * residual,
        commands=1 + call.table_commands + residual,
    )
    return shape.size * taps, shape, loops


def _conv_transpose(call: _Call) -> _Found:
    """As the product of each pixel with all filters, which the taps of the result are summed of."""
    group = int(call.command.attributes["group"])  # type: ignore[arg-type]
    n, height, width, channels = call.dims(0)
    filters = prod(call.dims(1)[1:])
    shape = Shape(n * height, width, filters * group)
    loops = Loops(
        lines=channels // group,
        taps=channels // group,
        group=filters,
        passes=_ELEMENTWISE + _ELEMENTWISE * call.table_commands,
        commands=1 + call.table_commands,
    )
    return shape.size * loops.taps, shape, loops


def _matmul(call: _Call) -> _Found:
    depth = call.dims(0)[-1]
    loops = Loops(
        lines=depth,
        taps=depth,
        group=call.shape.columns,
        passes=_ELEMENTWISE * call.table_commands,
        commands=1 + call.table_commands,
    )
    return call.shape.size * depth, call.shape, loops


def _window(call: _Call) -> _Found:
    attributes = call.command.attributes
    height, width = int(attributes["kernel_h"]), int(attributes["kernel_w"])  # type: ignore[arg-type]
    loops = Loops(
        lines=height * int(attributes["stride_w"]),  # type: ignore[arg-type]
        taps=height * width,
        multiplies=False,
        passes=_ELEMENTWISE * call.table_commands,
        commands=1 + call.table_commands,
    )
    return 0, call.shape, loops


def _reduction(call: _Call) -> _Found:
    """Pools of everything, sums: each element is read once."""
    elements = prod(call.dims(0)) // max(1, call.shape.size)
    loops = Loops(
        passes=1 + elements + _ELEMENTWISE * call.table_commands,
        commands=1 + call.table_commands,
        at_once=elements,
    )
    return 0, call.shape, loops


def _over_elements(commands: int) -> Callable[[_Call], _Found]:
    """Of so many commands of the device, each of which reads its operands and writes a result."""

    def kind(call: _Call) -> _Found:
        own = [one for one in call.tensors[:-1] if one and one.storage != Storage.CONSTANT]
        read = sum(size(one) for one in own) / max(1, call.shape.size)
        passes = commands * (read + _ITEM_SIZES[call.result.dtype])
        return (
            0,
            call.shape,
            Loops(
                passes=passes + _ELEMENTWISE * call.table_commands,
                commands=commands + call.table_commands,
            ),
        )

    return kind


def _along_axis(commands: int) -> Callable[[_Call], _Found]:
    """As `_over_elements`, where all of the last axis is read and written at once."""
    over_elements = _over_elements(commands)

    def kind(call: _Call) -> _Found:
        macs, shape, loops = over_elements(call)
        return macs, shape, loops._replace(at_once=_ELEMENTWISE * call.dims(0)[-1])

    return kind


def _look_up(call: _Call) -> _Found:
    """A copy, or a function of values instead of one."""
    commands = max(1, call.table_commands)
    return 0, call.shape, Loops(passes=_ELEMENTWISE * commands, commands=commands)


def _expression(call: _Call) -> _Found:
    code: tuple[int, ...] = call.command.attributes["code"]  # type: ignore[assignment]
    operations = sum(1 for word in code if word & 0xFFFFFFFF > 1)
    return _over_elements(max(1, operations))(call)


_MOST_OPERATIONS = 1 << 53
"""Of a call, as a kernel says: days of the device."""


def _plugin_kernel(call: _Call) -> _Found:
    """What the kernel says; otherwise that it reads its operands once."""
    found = _over_elements(1)(call)
    try:
        kernel = registered_kernel(call.program.kernel(call.command))
    except KernelError:
        return found
    if kernel.cost is None:
        return found
    shapes = [None if one is None else one.dims for one in call.tensors[1:]]
    cost, shape = kernel.cost(shapes), call.shape
    for name in KernelCost._fields:
        number = getattr(cost, name, None)
        if not isinstance(number, int) or not 0 <= number <= _MOST_OPERATIONS:
            raise KernelError(
                f"the cost of kernel {kernel.opcode} has {name}={number!r}: expected a whole number"
                f" from 0 to {_MOST_OPERATIONS}"
            )
    elements = max(1, shape.size)
    depth = -(-cost.macs // elements)
    loops = Loops(depth, depth, shape.columns, passes=cost.operations / elements)
    return cost.macs, shape, loops


_KINDS: Mapping[str, Callable[[_Call], _Found]] = {
    "QUANTIZE": _over_elements(1),
    "DEQUANTIZE": _over_elements(1),
    "COPY": _look_up,
    "FILL": _over_elements(1),
    "CONV": _conv,
    "CONV_TRANSPOSE": _conv_transpose,
    "MATMUL": _matmul,
    "ADD": _over_elements(1),
    "MUL": _over_elements(1),
    "EXPRESSION": _expression,
    "MAX_POOL": _window,
    "AVERAGE_POOL": _window,
    "GLOBAL_AVERAGE_POOL": _reduction,
    "REDUCE": _reduction,
    "SOFTMAX": _along_axis(4),
    "LP_NORMALIZATION": _along_axis(3),
    "RESIZE_NEAREST": _over_elements(1),
    "RESIZE_LINEAR": _over_elements(4),
    "GATHER": _over_elements(1),
    "CALL": _plugin_kernel,
}

"""What the emission of every operation uses: views of values, tensors, commands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from furiosa_ep.compiler.codegen.constants import ConstantPool
from furiosa_ep.compiler.codegen.layout import Alias, Layout, Output, Part, channels_last_order
from furiosa_ep.compiler.codegen.views import Buffer, Shape, View, collapse
from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.compiler.opcodes import operand
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table
from furiosa_ep.program import Command, DType, Storage, Tensor
from furiosa_ep.program.program import MAX_RANK

Fits = Callable[[View], bool]


class Emitter:
    """Tensors, commands and buffers of the Program that is being written."""

    def __init__(self, graph: DeviceGraph, layout: Layout) -> None:
        self.graph = graph
        self.layout = layout
        self.constants = ConstantPool()
        self.commands: list[Command] = []
        self.arena: list[Buffer] = []
        """The buffers of the arena, whose offsets the memory plan sets."""
        self.name = ""
        """Of the operation that is being emitted."""
        self._tensors: dict[Any, int] = {}
        self._records: list[View] = []
        self._views: dict[DeviceValue, View] = {}
        self._images: dict[DeviceValue, View] = {}
        self._outputs = [
            View.dense(Buffer(Storage.OUTPUT, 0, index), _stored(value.dtype), value.shape)
            for index, value in enumerate(graph.outputs)
        ]
        for index, value in enumerate(graph.inputs):
            buffer = Buffer(Storage.INPUT, 0, index)
            self._views[value] = View.dense(buffer, _stored(value.dtype), value.shape)

    def view(self, value: DeviceValue) -> View:
        """Where the elements of a value are."""
        found = self._views.get(value)
        if found is None:
            if value.constant is None:
                raise InternalError(f"{self.name}: {value.name!r} is read before it is computed")
            found = self._views[value] = self.constants.add(value.constant)
        return found

    def known(self, value: DeviceValue) -> View | None:
        """Where the elements of a value are or will be, if that is decided."""
        return self._views.get(value)

    def set_view(self, value: DeviceValue, view: View) -> None:
        """Declare where the elements of a value are."""
        self._views[value] = view

    def image(self, value: DeviceValue) -> View:
        """The view of an image (N, C, H, W, or N, C, L) as N, H, W, C with C innermost in memory.

        It is one of a copy where the channels of `value` lie otherwise.
        """
        found = self._images.get(value)
        if found is None:
            view = self.view(value)
            if not channels_innermost(view):
                copy = self.scratch(view.dtype, view.dims, channels_last_order(len(view.dims)))
                self.copy(view, copy)
                view = copy
            found = self._images[value] = nhwc(view)
        return found

    def allocate(self, value: DeviceValue, fits: Fits | None = None) -> View:
        """The view to write a new value to.

        It is the value's place in another one or in an output, where there is one and `fits`
        accepts it, otherwise a buffer of its own.
        """
        view = self.target(value)
        if view is None or not (fits or self.follows_order(value))(view):
            order = self.layout.orders[value]
            view = self.scratch(_stored(value.dtype), value.shape, order)
        self._views[value] = view
        return view

    def follows_order(self, value: DeviceValue) -> Fits:
        """Whether a view has the order of axes in memory that is planned for `value`."""
        order = self.layout.orders[value]

        def fits(view: View) -> bool:
            axes = [axis for axis in order if view.dims[axis] != 1]
            strides = [view.strides[axis] for axis in axes]
            return all(a >= b for a, b in pairwise(strides))

        return fits

    def target(self, value: DeviceValue) -> View | None:
        """Where the layout wants a value; None where it does not say, or it cannot lie there."""
        movements: list[Operation] = []
        placement = self.layout.placements.get(value)
        view: View | None = None
        while isinstance(placement, Alias):
            movements.append(placement.movement)
            view = self._views.get(placement.movement.output)
            if view is not None:
                break
            placement = self.layout.placements.get(placement.movement.output)
        if isinstance(placement, Output):
            view = self._outputs[placement.index]
        elif isinstance(placement, Part):
            whole = movements[-1].output if movements else value
            view = self._whole(placement.parent).slice(placement.starts, whole.shape)
        for movement in reversed(movements):
            view = view and _before(movement, view)
        return view

    def _whole(self, value: DeviceValue) -> View:
        """The view of a value that others are parts of.

        Where it is a part as well, the outer one is allocated first; without recursion, which
        networks with a thousand nested Concat would exhaust.
        """
        waiting = [value]
        while value not in self._views:
            parent = self._parent(waiting[-1])
            if parent is None or parent in self._views:
                self.allocate(waiting.pop())
            else:
                waiting.append(parent)
        return self._views[value]

    def _parent(self, value: DeviceValue) -> DeviceValue | None:
        """The value that another one is a part of, directly or after movements."""
        placement = self.layout.placements.get(value)
        while isinstance(placement, Alias):
            placement = self.layout.placements.get(placement.movement.output)
        return placement.parent if isinstance(placement, Part) else None

    def scratch(self, dtype: DType, dims: Shape, order: Sequence[int] = ()) -> View:
        """A new buffer in the arena, as a view with the axes in `order` in memory."""
        buffer = Buffer(Storage.ARENA, 0)
        view = View.dense(buffer, dtype, dims, order)
        buffer.size = view.size * dtype.numpy.itemsize
        self.arena.append(buffer)
        return view

    def constant(self, array: npt.NDArray[Any]) -> View:
        """The view of a constant operand."""
        return self.constants.add(array)

    def table(self, operation: Operation, slot: str = "table") -> View | None:
        """The view of an operation's table, if it has one."""
        table: Table | None = operation.attributes.get(slot)
        return None if table is None else self.constants.add(table.values)

    def copy(self, source: View, target: View, table: View | None = None) -> None:
        """COPY the elements, in the order of the target's memory; a no-op where both are one."""
        if table is None and source.same_place(target):
            return
        if source.dtype != DType.U8:
            source, target = as_bytes(source), as_bytes(target)
        self.elementwise("COPY", [source, table], target, {}, keep=(1,))

    def elementwise(
        self,
        opcode: str,
        operands: Sequence[View | None],
        result: View,
        attributes: Mapping[str, Any],
        *,
        keep: Sequence[int] = (),
        last_axis: int | None = None,
    ) -> None:
        """Append a command on views of one logical shape, with as few dims as possible.

        Dims are in the order of the result's memory. The operands at the positions `keep` are
        passed on as they are; `last_axis` becomes the last dim and stays one of its own.
        """
        moving = [i for i, view in enumerate(operands) if view is not None and i not in keep]
        views = [result, *(view.expand(result.dims) for i in moving if (view := operands[i]))]
        order = list(result.memory_order())
        if last_axis is not None:
            order.remove(last_axis)
            order.append(last_axis)
        dims, strides = collapse(
            [result.dims[axis] for axis in order],
            [[view.strides[axis] for axis in order] for view in views],
            keep_last=last_axis is not None,
        )
        physical = [
            replace(view, dims=dims, strides=own) for view, own in zip(views, strides, strict=True)
        ]
        final = list(operands)
        for position, view in zip(moving, physical[1:], strict=True):
            final[position] = view
        self.command(opcode, [*final, physical[0]], attributes)

    def command(
        self, opcode: str, operands: Sequence[View | None], attributes: Mapping[str, Any]
    ) -> None:
        """Append a command on views in physical order, the result last.

        Nothing is appended where the result has no elements.
        """
        result = operands[-1]
        if result is None or not result.size:
            return
        indices = tuple(None if view is None else self._tensor(view) for view in operands)
        position = len(self.commands)
        for view in operands:
            if view is not None:
                if view.buffer.first < 0:
                    view.buffer.first = position
                view.buffer.last = position
        self.commands.append(Command(opcode, indices, attributes, self.name))

    def tensors(self) -> list[Tensor]:
        """The tensors of the Program; the memory plan must have placed the buffers by then."""
        return [
            Tensor(
                view.dtype,
                view.buffer.storage,
                view.dims,
                view.strides,
                view.offset + view.buffer.offset,
                view.buffer.index,
            )
            for view in self._records
        ]

    def write_outputs(self) -> None:
        """Copy what no command has written to its output directly."""
        self.name = "outputs"
        for value, output in zip(self.graph.outputs, self._outputs, strict=True):
            self.copy(self.view(value), output)

    def _tensor(self, view: View) -> int:
        if len(view.dims) > MAX_RANK:
            raise CompileError(
                f"{self.name}: a tensor of {len(view.dims)} dims that cannot be merged, "
                f"{list(view.dims)}: expected at most {MAX_RANK}"
            )
        key = (id(view.buffer), view.dtype, view.offset, view.dims, view.strides)
        index = self._tensors.get(key)
        if index is None:
            index = self._tensors[key] = len(self._records)
            self._records.append(view)
        return index


def _before(movement: Operation, view: View) -> View | None:
    """Where the input of a Reshape or Transpose lies if its result lies in `view`."""
    if movement.kind == "Reshape":
        return view.reshape(operand(movement).shape)
    perm = tuple(movement.attributes["perm"])
    return view.transpose([perm.index(axis) for axis in range(len(perm))])


def channels_innermost(view: View) -> bool:
    """Whether an image has its channels side by side in memory."""
    return view.dims[1] == 1 or view.strides[1] == 1


def nhwc(view: View) -> View:
    """An image in physical order N, H, W, C; H = 1 where there is one spatial axis only."""
    if len(view.dims) == 3:
        (n, c, length), (sn, sc, sl) = view.dims, view.strides
        dims, strides = (n, 1, length, c), (sn, sl * length, sl, sc)
    else:
        (n, c, h, w), (sn, sc, sh, sw) = view.dims, view.strides
        dims, strides = (n, h, w, c), (sn, sh, sw, sc)
    return replace(view, dims=dims, strides=(*strides[:3], 1 if dims[3] == 1 else strides[3]))


def as_bytes(view: View) -> View:
    """The bytes of every element as a last axis."""
    size = view.dtype.numpy.itemsize
    strides = (*(stride * size for stride in view.strides), 1)
    return replace(view, dtype=DType.U8, dims=(*view.dims, size), strides=strides)


def _stored(dtype: DType) -> DType:
    """int8 at the border is moved as the bytes that it consists of."""
    return DType.U8 if dtype == DType.I8 else dtype

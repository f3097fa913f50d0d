"""Movements of data: views where addressing does it, otherwise COPY, FILL or GATHER."""

import math

import numpy as np

from furiosa_ep.compiler.codegen.emitter import Emitter
from furiosa_ep.compiler.codegen.registry import emits
from furiosa_ep.compiler.codegen.views import View
from furiosa_ep.compiler.opcodes import operand
from furiosa_ep.graph import DeviceValue, Operation


@emits("Transpose")
def emit_transpose(operation: Operation, emitter: Emitter) -> None:
    """A view."""
    view = emitter.view(operand(operation)).transpose(operation.attributes["perm"])
    emitter.set_view(operation.output, view)


@emits("Slice")
def emit_slice(operation: Operation, emitter: Emitter) -> None:
    """A view."""
    attributes, output = operation.attributes, operation.output
    x = emitter.view(operand(operation))
    emitter.set_view(output, x.slice(attributes["starts"], output.shape, attributes["steps"]))


@emits("Expand")
def emit_expand(operation: Operation, emitter: Emitter) -> None:
    """A view with strides of 0."""
    view = emitter.view(operand(operation)).expand(operation.output.shape)
    emitter.set_view(operation.output, view)


@emits("Reshape")
def emit_reshape(operation: Operation, emitter: Emitter) -> None:
    """A view where strides can express it, otherwise a copy in row-major order."""
    source = emitter.view(operand(operation))
    output = operation.output
    view = source.reshape(output.shape)
    if view is None:
        target = emitter.target(output)
        wanted = None if target is None else target.reshape(source.dims)
        if wanted is None or target is None:
            wanted = emitter.scratch(source.dtype, source.dims)
            target = row_major(wanted, output)
        emitter.copy(source, wanted)
        view = target
    emitter.set_view(output, view)


@emits("Concat")
def emit_concat(operation: Operation, emitter: Emitter) -> None:
    """Copies of the inputs that were not written in their places."""
    output = operation.output
    whole = _allocated(output, emitter)
    axis = operation.attributes["axis"] % len(output.shape)
    starts = [0] * len(output.shape)
    for position in range(len(operation.inputs)):
        value = operand(operation, position)
        emitter.copy(emitter.view(value), whole.slice(starts, value.shape))
        starts[axis] += value.shape[axis]


@emits("Pad")
def emit_pad(operation: Operation, emitter: Emitter) -> None:
    """FILL around the input, and a copy of it unless it was written in its place."""
    x, output = operand(operation), operation.output
    pads = operation.attributes["pads"]
    rank = len(output.shape)
    whole = _allocated(output, emitter)
    emitter.copy(emitter.view(x), whole.slice(pads[:rank], x.shape))
    starts, dims = [0] * rank, list(output.shape)
    for axis in whole.memory_order():
        # The slabs before and behind the input along this axis, beside those of the axes before.
        for start, count in (
            (0, pads[axis]),
            (pads[axis] + x.shape[axis], pads[rank + axis]),
        ):
            if count:
                corner = [*starts[:axis], start, *starts[axis + 1 :]]
                slab = whole.slice(corner, (*dims[:axis], count, *dims[axis + 1 :]))
                emitter.elementwise("FILL", [], slab, {"value": operation.attributes["value"]})
        starts[axis], dims[axis] = pads[axis], x.shape[axis]


@emits("Gather")
def emit_gather(operation: Operation, emitter: Emitter) -> None:
    """GATHER between the axes before and those behind, each merged into one.

    Where strides cannot say that, from a row-major copy or to a row-major buffer.
    """
    x, output = operand(operation), operation.output
    axis = operation.attributes["axis"] % len(x.shape)
    indices = np.ascontiguousarray(operation.attributes["indices"], np.int32)
    source, count = emitter.view(x), x.shape[axis]
    before, behind = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    physical = source.reshape((before, count, behind))
    if physical is None:
        source = emitter.scratch(source.dtype, source.dims)
        emitter.copy(emitter.view(x), source)
        physical = row_major(source, (before, count, behind))
    flat = (before, indices.size, behind)
    y = emitter.allocate(output, lambda view: view.reshape(flat) is not None)
    result = y.reshape(flat)
    if result is None:
        y = emitter.scratch(y.dtype, y.dims)
        emitter.set_view(output, y)
        result = row_major(y, flat)
    table = emitter.table(operation)
    emitter.command("GATHER", [physical, emitter.constant(indices.reshape(-1)), table, result], {})


def row_major(view: View, output: DeviceValue | tuple[int, ...]) -> View:
    """A row-major view without gaps with the dims of another value."""
    dims = output.shape if isinstance(output, DeviceValue) else output
    return View.dense(view.buffer, view.dtype, dims)


def _allocated(output: DeviceValue, emitter: Emitter) -> View:
    """Where a value lies whose parts may have been written already."""
    return emitter.known(output) or emitter.allocate(output)

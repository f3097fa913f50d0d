"""CALL: the kernels of plugins."""

from dataclasses import replace

import numpy as np

from furiosa_ep.compiler.codegen.emitter import Emitter
from furiosa_ep.compiler.codegen.registry import emits
from furiosa_ep.compiler.codegen.views import View
from furiosa_ep.graph import Operation, QuantParams
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.program import CallValues


@emits("Call")
def emit_call(operation: Operation, emitter: Emitter) -> None:
    """CALL on row-major operands, or on any where the kernel takes strides.

    The result has a place of its own where the one beside its neighbours would enclose operands.
    """
    kernel: Kernel = operation.attributes["kernel"]
    operands = [None if one is None else emitter.view(one) for one in operation.inputs]
    if not kernel.strided:
        operands = [None if one is None else _row_major(one, emitter) for one in operands]
    follows = emitter.follows_order(operation.output) if kernel.strided else _is_row_major
    y = emitter.allocate(
        operation.output,
        lambda view: follows(view) and not any(one and one.touches(view) for one in operands),
    )
    if not kernel.strided:
        y = replace(y, strides=_dense(y))
    shapes = [None if one is None else one.dims for one in (*operands, y)]
    emitter.command(
        "CALL",
        [emitter.constant(np.frombuffer(kernel.opcode.encode(), np.uint8)), *operands, y],
        {"workspace": kernel.workspace_size(shapes), "values": _values(operation, kernel).words()},
    )


def _values(operation: Operation, kernel: Kernel) -> CallValues:
    params: tuple[QuantParams | None, ...]
    params = (*operation.attributes["params"], operation.attributes["y_params"])
    values = operation.attributes["values"]
    return CallValues(
        [(1.0, 0) if one is None else (float(one.scale), one.stored_zero_point) for one in params],
        [
            float(values[name]) if real else int(values[name])
            for name, real in kernel.attribute_names.items()
        ],
    )


def _row_major(view: View, emitter: Emitter) -> View:
    """The elements in ONNX's order, in a copy where they lie otherwise."""
    if _is_row_major(view):
        return replace(view, strides=_dense(view))
    copy = emitter.scratch(view.dtype, view.dims)
    emitter.copy(view, copy)
    return copy


def _is_row_major(view: View) -> bool:
    pairs = zip(view.dims, view.strides, _dense(view), strict=True)
    return all(dim == 1 or stride == dense for dim, stride, dense in pairs)


def _dense(view: View) -> tuple[int, ...]:
    return View.dense(view.buffer, view.dtype, view.dims).strides

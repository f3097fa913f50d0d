"""CALL: the kernels of plugins."""

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from furiosa_ep.compiler.codegen.emitter import Emitter
from furiosa_ep.compiler.codegen.registry import emits
from furiosa_ep.compiler.codegen.views import View
from furiosa_ep.graph import Operation, QuantParams
from furiosa_ep.kernels.kernel import Kernel


@emits("Call")
def emit_call(operation: Operation, emitter: Emitter) -> None:
    """CALL on row-major operands, or on any where the kernel takes strides."""
    kernel: Kernel = operation.attributes["kernel"]
    operands = [None if one is None else emitter.view(one) for one in operation.inputs]
    if kernel.strided:
        y = emitter.allocate(operation.output)
    else:
        operands = [None if one is None else _row_major(one, emitter) for one in operands]
        y = emitter.allocate(operation.output, _is_row_major)
        y = replace(y, strides=_dense(y))
    shapes = [None if one is None else one.dims for one in (*operands, y)]
    emitter.command(
        "CALL",
        [emitter.constant(np.frombuffer(kernel.opcode.encode(), np.uint8)), *operands, y],
        {"workspace": kernel.workspace_size(shapes), "values": tuple(_values(operation, kernel))},
    )


def _values(operation: Operation, kernel: Kernel) -> Iterator[int]:
    """Scale and zero point of every operand and of the result, then the attributes, as words."""
    params: QuantParams | None
    for params in (*operation.attributes["params"], operation.attributes["y_params"]):
        yield _bits("<f", 1.0 if params is None else float(params.scale))
        yield 0 if params is None else params.stored_zero_point
    for name, is_real in kernel.attribute_names.items():
        value = operation.attributes["values"][name]
        yield _bits("<d", float(value)) if is_real else int(value)


def _bits(form: str, value: float) -> int:
    return int.from_bytes(struct.pack(form, value), "little")


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

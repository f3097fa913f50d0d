"""The meaning of device graphs, operation by operation, without layout, views or fusion."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.opcodes import elementwise_attributes
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, QuantParams
from furiosa_ep.kernels.kernel import KernelFrame, KernelTensor
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.program import DType

Array = npt.NDArray[Any]


def interpret(graph: DeviceGraph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of an unoptimised graph of the kinds below."""
    values: dict[DeviceValue, Array] = dict(zip(graph.inputs, inputs, strict=True))

    def read(value: DeviceValue) -> Array:
        if value.constant is not None:
            return value.constant
        array = values[value]  # int8 at the border is moved as bytes
        return array.view(np.uint8) if array.dtype == np.int8 else array

    for operation in graph.operations:
        operands = [read(value) for value in operation.inputs if value is not None]
        result = np.asarray(_KINDS[operation.kind](operation, operands))
        assert result.shape == operation.output.shape, operation.kind
        values[operation.output] = result
    return [read(value).view(value.dtype.numpy) for value in graph.outputs]


def _elementwise(opcode: str) -> Callable[[Operation, list[Array]], Array]:
    def run(operation: Operation, operands: list[Array]) -> Array:
        kind = np.float32 if operation.output.dtype == DType.F32 else np.uint8
        out = np.empty(operation.output.shape, kind)
        spread: list[Array | None] = [np.broadcast_to(one, out.shape) for one in operands]
        table = [] if opcode in ("QUANTIZE", "DEQUANTIZE") else [None]
        REFERENCE[opcode]([*spread, *table], elementwise_attributes(operation), out)
        return out

    return run


def _lookup(operation: Operation, operands: list[Array]) -> Array:
    table = operation.attributes["table"]
    if table.channel_axis is None:
        return np.asarray(table.values[operands[0]])
    moved = np.moveaxis(operands[0], table.channel_axis, -1)
    found = table.values[np.arange(len(table.values)), moved]
    return np.moveaxis(found, -1, table.channel_axis)


def _conv(operation: Operation, operands: list[Array]) -> Array:
    x, w, bias, multiplier = operands
    attributes = operation.attributes
    out = np.empty(operation.output.shape, np.uint8).transpose(0, 2, 3, 1)
    words = {
        **_window(attributes),
        **{name: attributes[name] for name in ("group", "x_zero_point", "y_zero_point")},
    }
    nhwc = x.transpose(0, 2, 3, 1), w.transpose(0, 2, 3, 1)
    REFERENCE["CONV"]([*nhwc, bias, multiplier, None, None, None], words, out)
    return out.transpose(0, 3, 1, 2)


def _max_pool(operation: Operation, operands: list[Array]) -> Array:
    attributes = operation.attributes
    out = np.empty(operation.output.shape, np.uint8).transpose(0, 2, 3, 1)
    words = {
        **_window(attributes),
        **dict(zip(("kernel_h", "kernel_w"), attributes["kernel"], strict=True)),
    }
    REFERENCE["MAX_POOL"]([operands[0].transpose(0, 2, 3, 1), None], words, out)
    return out.transpose(0, 3, 1, 2)


def _window(attributes: Mapping[str, Any]) -> dict[str, int]:
    return {
        **dict(zip(("stride_h", "stride_w"), attributes["strides"], strict=True)),
        **dict(zip(("dilation_h", "dilation_w"), attributes["dilations"], strict=True)),
        **dict(zip(("pad_top", "pad_left"), attributes["pads"], strict=False)),
    }


def _slice(operation: Operation, operands: list[Array]) -> Array:
    x = operands[0]
    for axis, (start, step) in enumerate(
        zip(operation.attributes["starts"], operation.attributes["steps"], strict=True)
    ):
        x = x.take(start + step * np.arange(operation.output.shape[axis]), axis)
    return x


def _pad(operation: Operation, operands: list[Array]) -> Array:
    pads, rank = operation.attributes["pads"], operands[0].ndim
    widths = list(zip(pads[:rank], pads[rank:], strict=True))
    return np.pad(operands[0], widths, constant_values=operation.attributes["value"])


def _call(operation: Operation, operands: list[Array]) -> Array:
    kernel, attributes = operation.attributes["kernel"], operation.attributes
    present = iter(operands)
    inputs = [
        None if value is None else _kernel_tensor(next(present), params)
        for value, params in zip(operation.inputs, attributes["params"], strict=True)
    ]
    out = np.empty(operation.output.shape, operation.output.dtype.numpy)
    output = _kernel_tensor(out, attributes["y_params"])
    kernel.reference(KernelFrame(tuple(inputs), output, attributes["values"]))
    return out


def _kernel_tensor(array: Array, params: QuantParams | None) -> KernelTensor:
    if params is None:
        return KernelTensor(array)
    return KernelTensor(array, params.scale, params.stored_zero_point)


_KINDS: dict[str, Callable[[Operation, list[Array]], Array]] = {
    "Quantize": _elementwise("QUANTIZE"),
    "Dequantize": _elementwise("DEQUANTIZE"),
    "Add": _elementwise("ADD"),
    "Mul": _elementwise("MUL"),
    "Lookup": _lookup,
    "Conv": _conv,
    "MaxPool": _max_pool,
    "Call": _call,
    "Reshape": lambda operation, x: x[0].reshape(operation.output.shape),
    "Transpose": lambda operation, x: x[0].transpose(operation.attributes["perm"]),
    "Slice": _slice,
    "Expand": lambda operation, x: np.broadcast_to(x[0], operation.output.shape),
    "Concat": lambda operation, x: np.concatenate(x, operation.attributes["axis"]),
    "Pad": _pad,
    "Gather": lambda operation, x: np.take(
        x[0], operation.attributes["indices"], operation.attributes["axis"]
    ),
}

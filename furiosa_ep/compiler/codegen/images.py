"""Convolutions, pools and resizing: commands on images in physical order N, H, W, C."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.codegen.emitter import Emitter, channels_innermost, nhwc
from furiosa_ep.compiler.codegen.registry import emits
from furiosa_ep.compiler.codegen.views import View
from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.compiler.opcodes import add_coefficients, operand, quantization
from furiosa_ep.graph import Operation, Residual
from furiosa_ep.kernels.reference.conv_transpose import product_block
from furiosa_ep.kernels.reference.resize_linear import FIXED, FLOAT, TRUNCATED

_RESIZE_LINEAR_KINDS = {"float": FLOAT, "truncated": TRUNCATED, "fixed": FIXED}


@emits("Conv")
def emit_conv(operation: Operation, emitter: Emitter) -> None:
    """CONV, with the residual add and the tables in its epilogue."""
    _, weights, bias, multiplier = (_array(operation, position) for position in range(4))
    residual: Residual | None = operation.attributes.get("residual")
    x = emitter.image(operand(operation))
    other = None if residual is None else emitter.image(operand(operation, 4))
    y = emitter.allocate(operation.output, channels_innermost)
    w = weights if weights.ndim == 4 else weights[:, :, None, :]
    emitter.command(
        "CONV",
        [
            x,
            emitter.constant(w.transpose(0, 2, 3, 1)),
            emitter.constant(bias),
            emitter.constant(multiplier),
            emitter.table(operation),
            other,
            emitter.table(operation, "residual_table"),
            nhwc(y),
        ],
        {
            **_window(operation),
            "group": operation.attributes["group"],
            "x_zero_point": operation.attributes["x_zero_point"],
            "y_zero_point": operation.attributes["y_zero_point"],
            **_residual(residual),
        },
    )


@emits("ConvTranspose")
def emit_conv_transpose(operation: Operation, emitter: Emitter) -> None:
    """CONV_TRANSPOSE."""
    weights, group = _array(operation, 1), operation.attributes["group"]
    bias = operation.inputs[2] if len(operation.inputs) > 2 else None
    x = emitter.image(operand(operation))
    y = emitter.allocate(operation.output, channels_innermost)
    w = weights if weights.ndim == 4 else weights[:, :, None, :]
    emitter.command(
        "CONV_TRANSPOSE",
        [
            x,
            emitter.constant(w.transpose(0, 2, 3, 1)),
            None if bias is None else emitter.view(bias),
            emitter.table(operation),
            nhwc(y),
        ],
        {
            **_window(operation),
            "group": group,
            "block": product_block(math.prod(x.dims[1:3]), weights.shape[0] // group),
            **_quantizations(operation),
        },
    )


@emits("MaxPool")
def emit_max_pool(operation: Operation, emitter: Emitter) -> None:
    """MAX_POOL."""
    _unary(operation, emitter, "MAX_POOL", {**_kernel(operation), **_window(operation)})


@emits("AveragePool")
def emit_average_pool(operation: Operation, emitter: Emitter) -> None:
    """AVERAGE_POOL."""
    attributes = operation.attributes
    _unary(
        operation,
        emitter,
        "AVERAGE_POOL",
        {
            **_kernel(operation),
            **_window(operation),
            "count_include_pad": int(attributes["count_include_pad"]),
            "signed": int(attributes["y_params"].signed),
            **_quantizations(operation),
        },
    )


@emits("GlobalAveragePool")
def emit_global_average_pool(operation: Operation, emitter: Emitter) -> None:
    """GLOBAL_AVERAGE_POOL."""
    x, y = operation.attributes["x_params"], operation.attributes["y_params"]
    pixels = int(np.prod(operand(operation).shape[2:]))
    with np.errstate(all="ignore"):
        multiplier = np.float32(x.scale) / np.float32(y.scale * np.float32(pixels))
    attributes = {
        "x_zero_point": x.stored_zero_point,
        "y_zero_point": y.stored_zero_point,
        "multiplier": float(multiplier),
    }
    _unary(operation, emitter, "GLOBAL_AVERAGE_POOL", attributes)


@emits("ResizeNearest")
def emit_resize_nearest(operation: Operation, emitter: Emitter) -> None:
    """RESIZE_NEAREST."""
    indices = (_indices(operation, "rows"), _indices(operation, "columns"))
    x = emitter.image(operand(operation))
    y = emitter.allocate(operation.output, channels_innermost)
    operands = [x, *map(emitter.constant, indices), emitter.table(operation), nhwc(y)]
    emitter.command("RESIZE_NEAREST", operands, {})


@emits("ResizeLinear")
def emit_resize_linear(operation: Operation, emitter: Emitter) -> None:
    """RESIZE_LINEAR."""
    attributes = operation.attributes
    constants = (
        _indices(operation, "rows"),
        np.asarray(attributes["row_weights"], np.float32),
        _indices(operation, "columns"),
        np.asarray(attributes["column_weights"], np.float32),
    )
    x = emitter.image(operand(operation))
    y = emitter.allocate(operation.output, channels_innermost)
    operands = [x, *map(emitter.constant, constants), emitter.table(operation), nhwc(y)]
    kind = _RESIZE_LINEAR_KINDS[attributes["variant"]]
    emitter.command("RESIZE_LINEAR", operands, {"kind": kind, **_quantizations(operation)})


def _unary(
    operation: Operation, emitter: Emitter, opcode: str, attributes: Mapping[str, Any]
) -> None:
    x = emitter.image(operand(operation))
    y: View = emitter.allocate(operation.output, channels_innermost)
    emitter.command(opcode, [x, emitter.table(operation), nhwc(y)], attributes)


def _array(operation: Operation, position: int) -> npt.NDArray[Any]:
    """A constant operand (an empty array for the image itself)."""
    value = operand(operation, position)
    if value.constant is None:
        if position:
            raise InternalError(
                f"{operation.kind} of {operation.name!r}: operand {position} must be a constant"
            )
        return np.empty(0)
    return value.constant


def _indices(operation: Operation, name: str) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(operation.attributes[name], np.int32)


def _four(pads: Sequence[int]) -> tuple[int, ...]:
    """Pads of one or two spatial axes as top, left, bottom, right."""
    return (0, pads[0], 0, pads[1]) if len(pads) == 2 else tuple(pads)


def _two(values: Sequence[int]) -> tuple[int, ...]:
    """An attribute of one or two spatial axes as height, width."""
    return (1, *values) if len(values) == 1 else tuple(values)


def _window(operation: Operation) -> dict[str, int]:
    attributes = operation.attributes
    top, left, *_ = _four(attributes["pads"])
    stride_h, stride_w = _two(attributes["strides"])
    dilation_h, dilation_w = _two(attributes["dilations"])
    return {
        "stride_h": stride_h,
        "stride_w": stride_w,
        "dilation_h": dilation_h,
        "dilation_w": dilation_w,
        "pad_top": top,
        "pad_left": left,
    }


def _kernel(operation: Operation) -> dict[str, int]:
    height, width = _two(operation.attributes["kernel"])
    return {"kernel_h": height, "kernel_w": width}


def _quantizations(operation: Operation) -> dict[str, int | float]:
    attributes = operation.attributes
    return {
        **quantization(attributes["x_params"], "x"),
        **quantization(attributes["y_params"], "y"),
    }


def _residual(residual: Residual | None) -> dict[str, Any]:
    if residual is None:
        scales = dict.fromkeys(("residual_scale", "conv_scale", "residual_offset"), 0.0)
        return {"residual_first": 0, "signed": 0, **scales}
    a_scale, b_scale, offset = add_coefficients(
        residual.a_params, residual.b_params, residual.y_params
    )
    other, own = (a_scale, b_scale) if residual.first else (b_scale, a_scale)
    return {
        "residual_first": int(residual.first),
        "signed": int(residual.y_params.signed),
        "residual_scale": float(other),
        "conv_scale": float(own),
        "residual_offset": float(offset),
    }

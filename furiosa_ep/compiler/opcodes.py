"""Kinds of device operations: their operands, opcodes and the opcodes' attributes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.graph import DeviceValue, Operation, QuantParams
from furiosa_ep.kernels.reference._accumulate import fma
from furiosa_ep.program import OPCODES

CHANNELS_LAST = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "ResizeNearest",
        "ResizeLinear",
    }
)
"""Kinds that read and write images with the channels innermost in memory."""

ELEMENTWISE = frozenset({"Quantize", "Dequantize", "Lookup", "Add", "Mul", "Expression"})
"""Kinds that compute each element from the elements at the same place."""

OPCODE: Mapping[str, str] = {
    "Quantize": "QUANTIZE",
    "Dequantize": "DEQUANTIZE",
    "Lookup": "COPY",
    "Conv": "CONV",
    "ConvTranspose": "CONV_TRANSPOSE",
    "MatMul": "MATMUL",
    "Add": "ADD",
    "Mul": "MUL",
    "Expression": "EXPRESSION",
    "MaxPool": "MAX_POOL",
    "AveragePool": "AVERAGE_POOL",
    "GlobalAveragePool": "GLOBAL_AVERAGE_POOL",
    "Reduce": "REDUCE",
    "Softmax": "SOFTMAX",
    "LpNormalization": "LP_NORMALIZATION",
    "ResizeNearest": "RESIZE_NEAREST",
    "ResizeLinear": "RESIZE_LINEAR",
    "Gather": "GATHER",
    "Call": "CALL",
}
"""The opcode that each kind computes with; the other kinds only move data."""


def operand(operation: Operation, position: int = 0) -> DeviceValue:
    """An operand that the kind of the operation requires."""
    value = operation.inputs[position] if position < len(operation.inputs) else None
    if value is None:
        raise InternalError(f"{operation.kind} of {operation.name!r}: operand {position} is absent")
    return value


def has_table(kind: str) -> bool:
    """Whether a kind can look its result up in a table."""
    opcode = OPCODE.get(kind)
    return opcode is not None and "table" in OPCODES[opcode].optional


def quantization(params: QuantParams | None, name: str) -> dict[str, int | float]:
    """The attributes `<name>_scale` and `<name>_zero_point`; 1 and 0 for a float operand."""
    if params is None:
        return {f"{name}_scale": 1.0, f"{name}_zero_point": 0}
    return {f"{name}_scale": float(params.scale), f"{name}_zero_point": params.stored_zero_point}


def elementwise_attributes(operation: Operation) -> dict[str, Any]:
    """The attributes of the opcode of an elementwise operation."""
    attributes: dict[str, Any] = _ELEMENTWISE[operation.kind](operation.attributes)
    return attributes


def add_coefficients(
    a: QuantParams, b: QuantParams, y: QuantParams
) -> tuple[np.float32, np.float32, np.float32]:
    """a_scale, b_scale and offset of ADD, rounded as QLinearAdd rounds them."""
    with np.errstate(all="ignore"):
        a_scale, b_scale = np.float32(a.scale / y.scale), np.float32(b.scale / y.scale)
        b_part = np.float32(b_scale * np.float32(b.zero_point))
        zero_points = fma(*map(np.asarray, (a_scale, np.float32(a.zero_point), b_part)))
        return a_scale, b_scale, np.float32(np.float32(y.zero_point) - zero_points)


def _border(attributes: Mapping[str, Any]) -> dict[str, Any]:
    params: QuantParams = attributes["params"]
    return {"scale": float(params.scale), "zero_point": params.stored_zero_point}


def _add(attributes: Mapping[str, Any]) -> dict[str, Any]:
    a, b, y = _params(attributes)
    a_scale, b_scale, offset = add_coefficients(a, b, y)
    return {
        "signed": int(y.signed),
        "a_scale": float(a_scale),
        "b_scale": float(b_scale),
        "offset": float(offset),
    }


def _mul(attributes: Mapping[str, Any]) -> dict[str, Any]:
    a, b, y = _params(attributes)
    with np.errstate(all="ignore"):
        multiplier = np.float32(a.scale * b.scale) / y.scale
    return {
        "signed": int(y.signed),
        "a_zero_point": a.stored_zero_point,
        "b_zero_point": b.stored_zero_point,
        "y_zero_point": y.stored_zero_point,
        "multiplier": float(multiplier),
    }


def _expression(attributes: Mapping[str, Any]) -> dict[str, Any]:
    params = [*attributes["params"], None, None, None, None][:4]
    words: dict[str, Any] = {}
    for name, one in zip("abcd", params, strict=True):
        words |= quantization(one, name)
    words |= quantization(attributes["y_params"], "y")
    words["code"] = tuple(_code_word(op, payload) for op, payload in attributes["code"])
    return words


def _code_word(op: int, payload: int | float) -> int:
    """Op | payload << 32; a float payload is held as its bits."""
    if isinstance(payload, (float, np.floating)):
        payload = int(np.float32(payload).view(np.uint32))
    return int(op) | int(payload) << 32


def _params(attributes: Mapping[str, Any]) -> tuple[QuantParams, QuantParams, QuantParams]:
    return attributes["a_params"], attributes["b_params"], attributes["y_params"]


_ELEMENTWISE: Mapping[str, Any] = {
    "Quantize": _border,
    "Dequantize": _border,
    "Lookup": lambda attributes: {},
    "Add": _add,
    "Mul": _mul,
    "Expression": _expression,
}

"""Element by element: QUANTIZE, DEQUANTIZE, ADD, MUL and EXPRESSION."""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._accumulate import fma
from furiosa_ep.kernels.reference._registry import (
    Attributes,
    Operands,
    lookup,
    present,
    reference,
)

Array = npt.NDArray[Any]


def quantize(x: Array, scale: float, zero_point: int) -> npt.NDArray[np.uint8]:
    """clamp(rne(fl(x / scale)) + zero_point, 0, 255), where a NaN counts as the lowest value."""
    low, high = np.float32(-zero_point), np.float32(255 - zero_point)
    with np.errstate(all="ignore"):
        scaled = x / np.float32(scale)
    clamped = np.minimum(np.where(scaled > low, scaled, low), high)
    return (np.rint(clamped).astype(np.int32) + zero_point).astype(np.uint8)


def dequantize(x: Array, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """fl((x - zero_point) * scale)."""
    with np.errstate(all="ignore"):
        return (x.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale)


def saturate(value: Array, bias: int) -> npt.NDArray[np.uint8]:
    """The stored byte nearest to a float32: int8 with its top bit flipped where `bias` is 128.

    As on x86, and so in ONNX Runtime's QLinearAdd and QLinearMul, a NaN and what an int32 cannot
    hold count as the lowest value.
    """
    fits = (value >= -(2.0**31)) & (value < 2.0**31)
    rounded = np.where(fits, np.rint(np.where(fits, value, 0)), -bias)
    return (np.clip(rounded, -bias, 255 - bias) + bias).astype(np.uint8)


@reference("QUANTIZE")
def _quantize(operands: Operands, attributes: Attributes, out: Array) -> None:
    out[...] = quantize(present(operands[0]), attributes["scale"], attributes["zero_point"])


@reference("DEQUANTIZE")
def _dequantize(operands: Operands, attributes: Attributes, out: Array) -> None:
    out[...] = dequantize(present(operands[0]), attributes["scale"], attributes["zero_point"])


@reference("ADD")
def _add(operands: Operands, attributes: Attributes, out: Array) -> None:
    a, b, table = present(operands[0]), present(operands[1]), operands[2]
    bias = 128 * attributes["signed"]
    a_scale, b_scale, offset = (
        np.asarray(attributes[name], np.float32) for name in ("a_scale", "b_scale", "offset")
    )
    with np.errstate(all="ignore"):
        inner = fma(b.astype(np.float32) - np.float32(bias), b_scale, offset)
        total = fma(a.astype(np.float32) - np.float32(bias), a_scale, inner)
    out[...] = lookup(table, saturate(total, bias))


@reference("MUL")
def _mul(operands: Operands, attributes: Attributes, out: Array) -> None:
    a, b, table = present(operands[0]), present(operands[1]), operands[2]
    bias = 128 * attributes["signed"]
    of_a = a.astype(np.int32) - attributes["a_zero_point"]
    of_b = b.astype(np.int32) - attributes["b_zero_point"]
    with np.errstate(all="ignore"):
        product = (of_a * of_b).astype(np.float32) * np.float32(attributes["multiplier"])
        total = product + np.float32(attributes["y_zero_point"] - bias)
    out[...] = lookup(table, saturate(total, bias))


def _min(a: Array, b: Array) -> Array:
    return np.where((b < a) | np.isnan(b), b, a)


def _max(a: Array, b: Array) -> Array:
    return np.where((b > a) | np.isnan(b), b, a)


INPUT, CONST = 0, 1
BINARY: Mapping[int, Callable[[Any, Any], Any]] = MappingProxyType(
    {2: np.add, 3: np.subtract, 4: np.multiply, 5: np.divide, 6: _min, 7: _max}
)
"""ADD, SUB, MUL, DIV, MIN, MAX by their code."""
UNARY: Mapping[int, Callable[[Any], Any]] = MappingProxyType(
    {8: np.negative, 9: np.abs, 10: np.sqrt}
)
"""NEG, ABS, SQRT by their code."""


@reference("EXPRESSION")
def _expression(operands: Operands, attributes: Attributes, out: Array) -> None:
    *inputs, table = operands
    stack: list[Array] = []
    with np.errstate(all="ignore"):
        for word in attributes["code"]:
            code, payload = word & 0xFFFFFFFF, (word >> 32) & 0xFFFFFFFF
            if code == INPUT:
                stack.append(_value(present(inputs[payload]), attributes, "abcd"[payload]))
            elif code == CONST:
                (constant,) = struct.unpack("<f", struct.pack("<I", payload))
                stack.append(np.full(out.shape, constant, np.float32))
            elif code in BINARY:
                y = stack.pop()
                stack.append(BINARY[code](stack.pop(), y))
            else:
                stack.append(UNARY[code](stack.pop()))
    (result,) = stack
    if out.dtype == np.float32:
        out[...] = result
    else:
        q = quantize(result, attributes["y_scale"], attributes["y_zero_point"])
        out[...] = lookup(table, q)


def _value(operand: Array, attributes: Attributes, name: str) -> Array:
    if operand.dtype == np.float32:
        return operand
    return dequantize(operand, attributes[f"{name}_scale"], attributes[f"{name}_zero_point"])

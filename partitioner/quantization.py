"""Scales and zero points of values, read from the constants of the graph."""

from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import ElementType, Graph, Node, QuantParams
from furiosa_ep.partitioner.support import Operand

_DOMAINS = ("", "com.microsoft")
_EIGHT_BIT: dict[int, bool] = {ElementType.UINT8: False, ElementType.INT8: True}
"""Element type -> whether it is signed."""


def is_quantize(node: Node) -> bool:
    """Whether the node is a QuantizeLinear."""
    return node.op_type == "QuantizeLinear" and node.domain in _DOMAINS


def is_dequantize(node: Node) -> bool:
    """Whether the node is a DequantizeLinear."""
    return node.op_type == "DequantizeLinear" and node.domain in _DOMAINS


def dequantized(graph: Graph, node: Node) -> Operand:
    """The 8-bit input of a DequantizeLinear."""
    return quantized_operand(graph, node.input(0), node.input(1), node.input(2), axis=_axis(node))


def quantized(graph: Graph, node: Node) -> Operand:
    """The 8-bit output of a QuantizeLinear."""
    dtype = int(node.attributes.get("output_dtype", 0)) or ElementType.UINT8
    params = None
    if not node.attributes.get("block_size", 0):
        params = quant_params(graph, node.input(1), node.input(2), dtype)
    return Operand(node.outputs[0], params)


def quantized_operand(
    graph: Graph, value: str, scale: str, zero_point: str = "", axis: int | None = None
) -> Operand:
    """The operand that `value` is with the constants named `scale` and `zero_point`.

    That is how a DequantizeLinear or an operator with quantized inputs (QLinearConv) names them;
    `zero_point` "" is 0. A constant gets scales and zero points, per tensor (shape []) or per
    channel of `axis`; any other value gets per-tensor params. Both are left out where they are not
    constant or not 8-bit (constants: also int32, for bias). An absent value is Operand("", None).
    """
    if not value:
        return Operand("", None)
    dtype = graph.dtype(value) or ElementType.UINT8
    if not graph.is_constant(value):
        return Operand(value, quant_params(graph, scale, zero_point, dtype))
    scales = graph.constant(scale)
    if scales is None or scales.dtype != np.float32 or scales.ndim > 1:
        return Operand(value, None)
    zeros: npt.NDArray[Any] | None = np.zeros(scales.shape, np.int64)
    if zero_point:
        zeros = graph.constant(zero_point)
    if zeros is None or zeros.size != scales.size or zeros.dtype.kind not in "iu":
        return Operand(value, None)
    # One scale for a constant of several channels, given as [1], is a per-tensor scale.
    shape = () if scales.size == 1 else scales.shape
    return Operand(
        value,
        None,
        scales.reshape(shape).copy(),  # outlives the memory of the session's building
        zeros.astype(np.int64).reshape(shape),
        axis if shape else None,
    )


def quant_params(graph: Graph, scale: str, zero_point: str, dtype: int) -> QuantParams | None:
    """Per-tensor parameters from the constants named.

    None where they are not constant, not one float32 scale, or not 8-bit. The zero point's type
    goes before `dtype`, the 8-bit value's; `zero_point` "" is 0.
    """
    scales = graph.constant(scale)
    if scales is None or scales.dtype != np.float32 or scales.size != 1:
        return None
    zero = 0
    if zero_point:
        zeros = graph.constant(zero_point)
        if zeros is None or zeros.size != 1:
            return None
        dtype = graph.dtype(zero_point) or dtype
        if dtype in _EIGHT_BIT:
            zero = int(zeros.reshape(-1)[0])
    if dtype not in _EIGHT_BIT:
        return None
    return QuantParams(np.float32(scales.reshape(-1)[0]), zero, _EIGHT_BIT[dtype])


def _axis(node: Node) -> int:
    return int(node.attributes.get("axis", 1))

"""Float32 elementwise arithmetic on dequantized values, as code of Expression operations.

Every step is exactly rounded, so that the result equals what ONNX Runtime computes between
DequantizeLinear and QuantizeLinear where it does not fuse them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import DeviceValue, Node, QuantParams
from furiosa_ep.partitioner.operators.emitting import reshape
from furiosa_ep.partitioner.operators.numerics import dequantize
from furiosa_ep.partitioner.operators.rules import quantization
from furiosa_ep.partitioner.support import Builder, Operand
from furiosa_ep.program.program import DType

Word = tuple[int, int]
"""An operation and its payload."""
Code = tuple[Word, ...]
"""Words in postfix order."""

INPUT, CONST, ADD, SUB, MUL, DIV, MIN, MAX, NEG, ABS, SQRT = range(11)

MAX_OPERANDS = 4
MAX_WORDS = 32
"""How long code may become, so that it stays cheaper than several operations."""


class Expression:
    """The operands of an Expression operation, each held once."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._values: list[DeviceValue] = []
        self._params: list[QuantParams | None] = []

    @property
    def full(self) -> bool:
        """Whether there is no room for another operand."""
        return len(self._values) == MAX_OPERANDS

    def push(self, operand: Operand) -> Code:
        """Code that pushes a value: dequantized, or a constant of one element as it is."""
        array = self._builder.graph.constant(operand.name)
        if array is None:
            params = quantization(operand, self._builder.graph)
            return self.push_value(self._builder.value(operand), params)
        real = real_constant(operand, array)
        if real.size == 1:
            return (constant_word(real.reshape(-1)[0]),)
        return self.push_value(self._builder.constant(real, operand.name), None)

    def push_value(self, value: DeviceValue, params: QuantParams | None) -> Code:
        """Code that pushes a device value, 8-bit with `params` or float with None."""
        for position, known in enumerate(zip(self._values, self._params, strict=True)):
            if known[0] is value and known[1] == params:
                return ((INPUT, position),)
        self._values.append(value)
        self._params.append(params)
        return ((INPUT, len(self._values) - 1),)

    def emit(self, code: Code, y_params: QuantParams | None, shape: Sequence[int]) -> DeviceValue:
        """The value of the code, quantized with `y_params` or float where that is None."""
        # Constants that are part of the code may have had more dims, all of them 1.
        own = np.broadcast_shapes(*(value.shape for value in self._values))
        value = self._builder.emit(
            "Expression",
            self._values,
            own,
            DType.F32 if y_params is None else DType.U8,
            signed=y_params is not None and y_params.signed,
            params=tuple(self._params),
            y_params=y_params,
            code=code,
        )
        return reshape(value, shape, self._builder)


def constant_word(value: float | np.floating[Any]) -> Word:
    """The word that pushes a float32."""
    return CONST, int(np.float32(value).view(np.uint32))


def real_constant(operand: Operand, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """A constant as DequantizeLinear gives it, or as it is where it is not quantized."""
    if operand.scales is None or operand.zero_points is None:
        return np.asarray(array, np.float32)
    scales, zero_points = operand.scales, operand.zero_points
    if scales.size != 1 and operand.axis is not None:
        along = [1] * array.ndim
        along[operand.axis] = -1
        scales, zero_points = scales.reshape(along), zero_points.reshape(along)
    return dequantize(array, scales, zero_points)


def _fold(op: int) -> Callable[[Node, Sequence[Code]], Code]:
    def code(node: Node, inputs: Sequence[Code]) -> Code:
        first, *rest = inputs
        return first + tuple(word for one in rest for word in (*one, (op, 0)))

    return code


def _mean(node: Node, inputs: Sequence[Code]) -> Code:
    return (*_fold(ADD)(node, inputs), constant_word(len(inputs)), (DIV, 0))


def _unary(op: int) -> Callable[[Node, Sequence[Code]], Code]:
    return lambda node, inputs: (*inputs[0], (op, 0))


def _relu(node: Node, inputs: Sequence[Code]) -> Code:
    return (*inputs[0], constant_word(0.0), (MAX, 0))


def _clip(node: Node, inputs: Sequence[Code]) -> Code:
    code = inputs[0]
    for position, (name, op) in enumerate((("min", MAX), ("max", MIN)), 1):
        if name in node.attributes:
            code = (*code, constant_word(node.attributes[name]), (op, 0))
        elif position < len(inputs) and inputs[position]:
            code = (*code, *inputs[position], (op, 0))
    return code


CODE: Mapping[str, Callable[[Node, Sequence[Code]], Code]] = {
    "Add": _fold(ADD),
    "Sum": _fold(ADD),
    "Sub": _fold(SUB),
    "Mul": _fold(MUL),
    "Div": _fold(DIV),
    "Min": _fold(MIN),
    "Max": _fold(MAX),
    "Mean": _mean,
    "Neg": _unary(NEG),
    "Abs": _unary(ABS),
    "Sqrt": _unary(SQRT),
    "Identity": lambda node, inputs: inputs[0],
    "Relu": _relu,
    "Clip": _clip,
}
"""The code of an operator from that of its inputs (empty for an absent one), by its type."""


def is_arithmetic(nodes: Iterable[Node]) -> bool:
    """Whether every node has code."""
    return all(not node.domain and node.op_type in CODE for node in nodes)

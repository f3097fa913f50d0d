"""Where a QDQ model holds values in 8 bits."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.parameters import to_integers
from furiosa_ep.quantization.prepare import INTEGER_OPS
from furiosa_ep.quantization.ranges import STEPS

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[Any]

_ADDED = re.compile(
    r"(_QuantizeLinear|_DequantizeLinear)?(_Input|_Output|_quantized|_dequantized)?"
    r"([/_](float|quantized|dequantized|duplicated))?(_\d+)?$"
)
"""What quantizers put behind the name of the float value."""


@dataclass(frozen=True)
class Site:
    """A value that has 8 bits for a while: an activation, not a constant."""

    integers: str
    """The value in 8 bits."""
    value: str
    """What is quantized; "" for an input of the model that has 8 bits."""
    results: tuple[str, ...]
    """What is dequantized of it."""
    scale: np.float32
    zero_point: int
    lowest: int
    """The least of the integers."""
    node: onnx.NodeProto | None
    """What computes `value`; None for an input of the model."""

    @property
    def low(self) -> float:
        """The least number that it holds."""
        return float(self.scale) * (self.lowest - self.zero_point)

    @property
    def high(self) -> float:
        """The greatest number that it holds."""
        return float(self.scale) * (self.lowest + STEPS - self.zero_point)

    def quantized(self, array: Floats) -> Integers:
        """The integers that stand for an array."""
        dtype = np.int8 if self.lowest < 0 else np.uint8
        return to_integers(array, np.asarray(self.scale), np.asarray(self.zero_point, dtype))

    def dequantized(self, integers: Integers) -> Floats:
        """The numbers that integers stand for."""
        steps: Floats = integers.astype(np.float32) - np.float32(self.zero_point)
        return steps * np.float32(self.scale)

    @property
    def names(self) -> tuple[str, ...]:
        """What the float value may be called, the most likely name first."""
        own = (*self.results, self.value, self.integers)
        bare = (_ADDED.sub("", name) for name in own)
        return tuple(dict.fromkeys(name for name in (*own, *bare) if name))


def find_sites(model: onnx.ModelProto) -> tuple[Site, ...]:
    """The sites of a QDQ model, in the order of its nodes.

    Raises:
        QuantizationError: where it has none, or its operators take integers themselves.
    """
    integer = next((node for node in model.graph.node if node.op_type in INTEGER_OPS), None)
    if integer is not None:
        raise QuantizationError(
            f"the quantized model has {integer.op_type}: it is in the QOperator format; give one "
            "in the QDQ format, as quantize_model makes"
        )
    found = tuple(_sites(model.graph, constants_of(model.graph)))
    if not found:
        raise QuantizationError(
            "the quantized model holds no activation in 8 bits: it has no QuantizeLinear with a "
            "constant scale; are the two models in the wrong order?"
        )
    return found


def constants_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Initializers and the values of Constant nodes, by name."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    return constants


def _sites(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> Iterator[Site]:
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            readers.setdefault(node.input[0], []).append(node)
    inputs = [value.name for value in graph.input if value.name not in constants]
    for name in inputs:
        if name in readers:
            parameters = _parameters(readers[name][0], constants)
            if parameters is not None:
                results = tuple(node.output[0] for node in readers[name])
                yield Site(name, "", results, *parameters, None)
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants:
            continue
        parameters = _parameters(node, constants)
        if parameters is not None:
            results = tuple(one.output[0] for one in readers.get(node.output[0], ()))
            producer = producers.get(node.input[0])
            yield Site(node.output[0], node.input[0], results, *parameters, producer)


def _parameters(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> tuple[np.float32, int, int] | None:
    """Scale, zero point and least integer of a value with one scale; None for another."""
    tensors = [constants.get(name) for name in node.input[1:3]]
    if not tensors or any(tensor is None for tensor in tensors):
        return None
    arrays = [numpy_helper.to_array(tensor) for tensor in tensors if tensor is not None]
    zero_point = arrays[1] if len(arrays) > 1 else np.zeros(1, np.uint8)
    if arrays[0].size != 1 or zero_point.size != 1 or zero_point.dtype not in (np.uint8, np.int8):
        return None
    lowest = int(np.iinfo(zero_point.dtype).min)
    return np.float32(arrays[0].item()), int(zero_point.item()), lowest

"""What is known before calibration: ranges, and what a model brings along.

A model that was trained with quantization (QAT) has QuantizeLinear and DequantizeLinear where its
training rounded. They are taken out, so that the rest of it can be optimised and quantized as any
float model, and their parameters are kept for where they belong.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.optimize.standard_form import to_standard_form
from furiosa_ep.quantization.parameters import Parameters, to_integers
from furiosa_ep.quantization.ranges import Range
from furiosa_ep.quantization.samples import Array
from furiosa_ep.quantization.weights import QuantizedWeight, along

EIGHT_BITS = (np.dtype(np.uint8), np.dtype(np.int8))


@dataclass
class Given:
    """What is known before calibration."""

    ranges: dict[str, Range] = field(default_factory=dict)
    """Those of activations, by name."""
    parameters: dict[str, Parameters] = field(default_factory=dict)
    """Those of activations that the model has quantized, by name; they have `ranges` as well."""
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    """Weights that the model has quantized, by the name of the initializer in their place."""

    @property
    def activation(self) -> Literal["uint8", "int8"] | None:
        """The type that most of the activations have that the model has quantized."""
        signed = [found.zero_point.dtype == np.int8 for found in self.parameters.values()]
        if not signed:
            return None
        return "int8" if 2 * sum(signed) > len(signed) else "uint8"

    def __bool__(self) -> bool:
        return bool(self.ranges or self.weights)


def range_of(parameters: Parameters) -> Range:
    """The lowest and the highest number of 8 bits."""
    scale, zero_point = float(parameters.scale), int(parameters.zero_point)
    limits = np.iinfo(parameters.zero_point.dtype)
    return Range((limits.min - zero_point) * scale, (limits.max - zero_point) * scale)


def take_out(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Given]:
    """The float model within a QDQ model, and the parameters of what is quantized in it.

    The very model where nothing is. It may be changed to standard form.

    Raises:
        QuantizationError: where a QuantizeLinear or DequantizeLinear cannot be taken out.
    """
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return model, Given()
    to_standard_form(model)
    graph, given = EditableGraph(model), Given()
    for node in graph.nodes("DequantizeLinear"):
        quantize = graph.producer(node.input[0], "QuantizeLinear")
        if quantize is not None and not graph.is_constant(quantize.input[0]):
            _take_activation(graph, node, quantize, given)
        else:
            _take_constant(graph, node, quantize, given)
    for node in graph.nodes("QuantizeLinear"):
        if any(graph.is_used(name) for name in node.output):
            raise _refused(node, "its result is read by something else than DequantizeLinear")
        graph.remove(node)
    graph.remove_unread_constants()
    return graph.model(), given


def _take_activation(
    graph: EditableGraph, node: onnx.NodeProto, quantize: onnx.NodeProto, given: Given
) -> None:
    parameters = Parameters(*_constants(graph, quantize))
    if parameters.zero_point.dtype not in EIGHT_BITS:
        raise _refused(quantize, f"its type is {parameters.zero_point.dtype}, expected 8 bits")
    if parameters.scale.size != 1 or parameters.zero_point.size != 1:
        raise _refused(quantize, "an activation has several scales, expected one")
    others = Parameters(*_constants(graph, node))
    if any(a.dtype != b.dtype or (a != b).any() for a, b in zip(parameters, others, strict=True)):
        raise _refused(node, "it has other parameters than the QuantizeLinear before it")
    source, target = quantize.input[0], node.output[0]
    kept = graph.is_kept(target)
    if not graph.bypass(node, source):
        raise _refused(node, "it joins an input and an output of the model")
    flat = Parameters(parameters.scale.reshape(()), parameters.zero_point.reshape(()))
    name = target if kept else source
    given.parameters[name], given.ranges[name] = flat, range_of(flat)


def _take_constant(
    graph: EditableGraph, node: onnx.NodeProto, quantize: onnx.NodeProto | None, given: Given
) -> None:
    """Weights and biases become float again."""
    scale, zero_point = _constants(graph, node)
    axis = attribute(node, "axis", 1) if scale.ndim and scale.size > 1 else None
    integers = graph.constant(node.input[0])
    floats = graph.constant(quantize.input[0]) if quantize is not None else None
    if floats is not None:
        scales, zero_points = (along(one, axis, floats.ndim) for one in (scale, zero_point))
        integers = to_integers(floats, scales, zero_points)
    if integers is None:
        raise _refused(node, "it dequantizes what nothing has quantized; give a model of floats")
    shape = integers.ndim
    centered = integers.astype(np.int32) - along(zero_point.astype(np.int32), axis, shape)
    name = node.output[0]
    graph.make_constants(node, {name: (centered * along(scale, axis, shape)).astype(np.float32)})
    if shape >= 2 and np.array_equal(centered, centered.astype(np.int8)):
        scales = scale.reshape(-1) if axis is not None else scale.reshape(())
        given.weights[name] = QuantizedWeight(centered.astype(np.int8), scales, axis)


def _constants(graph: EditableGraph, node: onnx.NodeProto) -> tuple[Array, Array]:
    """Scale and zero point of a node."""
    scale = graph.constant(node.input[1])
    zero_point = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if scale is None or (zero_point is None and len(node.input) > 2 and node.input[2]):
        raise _refused(node, "its scale or zero point is no constant")
    if scale.dtype != np.float32:
        raise _refused(node, f"its scale is {scale.dtype}, expected float32")
    if zero_point is None:
        quantized = graph.constant(node.input[0])
        dtype = np.uint8 if quantized is None else quantized.dtype
        zero_point = np.zeros(scale.shape, dtype)
    return scale, zero_point


def _refused(node: onnx.NodeProto, why: str) -> QuantizationError:
    return QuantizationError(
        f"{node.op_type} {node.name or node.output[0]!r} cannot be taken over: {why}"
    )

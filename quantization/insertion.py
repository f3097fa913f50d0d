"""QuantizeLinear and DequantizeLinear around the units of a scheme."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from furiosa_ep.quantization.optimize.copies import (
    copied,
    copy_without,
    elements_of,
    reference_to,
)
from furiosa_ep.quantization.optimize.editing import free_name
from furiosa_ep.quantization.parameters import Parameters, to_integers
from furiosa_ep.quantization.samples import Array
from furiosa_ep.quantization.scheme import Scheme, Unit
from furiosa_ep.quantization.weights import (
    Layer,
    QuantizedWeight,
    quantize_weight,
    raise_for_bias,
)


def insert_qdq(
    scheme: Scheme,
    parameters: Mapping[str, Parameters],
    weights: Mapping[str, QuantizedWeight],
    *,
    by_address: bool = False,
) -> onnx.ModelProto:
    """The model with each unit as a QDQ group.

    `parameters` are those of all quantized values, `weights` those of all layers. Values keep their
    names: in float where nodes outside of units read them or the model gives them, else in front of
    their QuantizeLinear. The Relu or Clip of a unit goes. Biases are int32 in the scale of their
    products; weights whose scale is too small for that get a larger one. With `by_address`, weights
    are not copied: the model, which is for this process then, refers to those that are given.
    """
    return _Insertion(scheme, parameters, weights, by_address).model()


class _Insertion:
    def __init__(
        self,
        scheme: Scheme,
        parameters: Mapping[str, Parameters],
        weights: Mapping[str, QuantizedWeight],
        by_address: bool,
    ) -> None:
        self._referred = {id(one.integers) for one in weights.values()} if by_address else set()
        self._scheme, self._parameters, self._weights = scheme, parameters, weights
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []
        graph = scheme.model.graph
        self._names = {
            *(name for node in graph.node for name in (node.name, *node.input, *node.output)),
            *(value.name for value in (*graph.input, *graph.output)),
            *scheme.constants,
        }
        self._integers: dict[str, str] = {}
        """By value, the output of its QuantizeLinear."""
        self._dequantized: dict[tuple[Unit, str], str] = {}
        """By unit and value, the output of its DequantizeLinear."""
        self._parameter_names: dict[str, tuple[str, ...]] = {}
        self._constant_names: dict[str, tuple[str, ...]] = {}

    def model(self) -> onnx.ModelProto:
        source = self._scheme.model.graph
        owners = {p: unit for unit in self._scheme.units for p in unit.positions}
        for value in source.input:
            self._quantize(value.name, value.name)
        for position, node in enumerate(source.node):
            unit = owners.get(position)
            if unit is None:
                self._nodes.append(node)
                for name in node.output:
                    self._quantize(name, name)
            elif position != unit.clip:
                self._add(node, unit)
        model = copy_without(self._scheme.model, "node", "initializer", "value_info")
        model.graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input} | self._scheme.read_in_float
        kept = (one for name, one in self._scheme.constants.items() if name in read)
        model.graph.initializer.extend([*kept, *self._tensors])
        written = {name for node in self._nodes for name in node.output}
        model.graph.value_info.extend(one for one in source.value_info if one.name in written)
        return model

    def _add(self, node: onnx.NodeProto, unit: Unit) -> None:
        """Add a node of a unit, its DequantizeLinear nodes before and QuantizeLinear behind it."""
        added = copied(node)
        layer = self._scheme.layers.get(node.output[0])
        for index, name in enumerate(node.input):
            if name in unit.reads:
                added.input[index] = self._dequantize(name, unit)
            elif name in self._scheme.constants and self._scheme.node(unit).op_type == "Concat":
                added.input[index] = self._quantized_constant(name, unit)
        if layer is not None:
            self._add_weights(added, layer)
        floats = {}
        for index, name in enumerate(node.output):
            # The node of the clip, which goes, wrote the unit's result.
            result = unit.writes[0] if unit.clip is not None else name
            if result in unit.writes:
                read = result in self._scheme.read_in_float
                floats[result] = self._free(f"{result}_QuantizeLinear_Input") if read else result
                added.output[index] = floats[result]
        self._nodes.append(added)
        for name, written in floats.items():
            self._quantize(name, written)
            if name in self._scheme.read_in_float:
                self._append("DequantizeLinear", self._integers[name], name, name)

    def _quantize(self, name: str, floats: str) -> None:
        """Quantize a value, if it is to be, that a node or the model's user gives in float."""
        if name in self._parameters:
            self._integers[name] = self._free(f"{name}_QuantizeLinear_Output")
            self._append("QuantizeLinear", floats, self._integers[name], name)

    def _dequantize(self, name: str, unit: Unit) -> str:
        """The value as a unit reads it: each has a DequantizeLinear of its own, as a QDQ group."""
        key = (unit, name)
        if key not in self._dequantized:
            self._dequantized[key] = self._free(f"{name}_DequantizeLinear_Output")
            self._append("DequantizeLinear", self._integers[name], self._dequantized[key], name)
        return self._dequantized[key]

    def _append(self, op_type: str, source: str, target: str, value: str) -> None:
        """Add a QuantizeLinear or DequantizeLinear with the parameters of a value."""
        owner = self._scheme.sources[value]
        if self._parameters.get(owner) != self._parameters[value]:
            owner = value
        if owner not in self._parameter_names:
            scale, zero_point = self._parameters[owner]
            self._parameter_names[owner] = (
                self._constant(f"{owner}_scale", scale),
                self._constant(f"{owner}_zero_point", zero_point),
            )
        self._add_node(op_type, [source, *self._parameter_names[owner]], target)

    def _quantized_constant(self, name: str, unit: Unit) -> str:
        """A constant that a unit joins with other values, in the parameters of the result."""
        floats = elements_of(self._scheme.constants[name])
        integers = to_integers(floats, *self._parameters[unit.writes[0]])
        source, target = (
            self._constant(f"{name}_quantized", integers),
            self._free(f"{name}_DequantizeLinear_Output"),
        )
        self._append("DequantizeLinear", source, target, unit.writes[0])
        return target

    def _add_weights(self, node: onnx.NodeProto, layer: Layer) -> None:
        """Let a layer read weights and bias as integers."""
        input_scale = self._parameters[layer.input].scale
        bias = elements_of(self._scheme.constants[layer.bias]) if layer.bias else None
        name, weight = layer.weight, self._weights[layer.weight]
        scale = raise_for_bias(weight.scale, float(input_scale), bias)
        if not np.array_equal(scale, weight.scale):
            floats = elements_of(self._scheme.constants[name])
            weight = quantize_weight(floats, weight.axis, scale, layer=layer.name)
            name = f"{layer.output}_{name}"
        node.input[1] = self._constant_in_float(name, weight.integers, scale, weight.axis)
        if bias is not None:
            scale = np.asarray(input_scale * scale, np.float32)
            steps = np.rint(bias.reshape(-1) / scale.astype(np.float64))
            node.input[2] = self._constant_in_float(
                f"{layer.output}_bias", steps.astype(np.int32), scale, 0 if scale.ndim else None
            )

    def _constant_in_float(self, name: str, integers: Array, scale: Array, axis: int | None) -> str:
        """Integers with zero point 0 in float again; each reader has a DequantizeLinear."""
        if name not in self._constant_names:
            self._constant_names[name] = (
                self._constant(f"{name}_quantized", integers),
                self._constant(f"{name}_scale", scale),
                self._constant(f"{name}_zero_point", np.zeros(scale.shape, integers.dtype)),
            )
        target = self._free(f"{name}_DequantizeLinear_Output")
        self._add_node("DequantizeLinear", self._constant_names[name], target, axis)
        return target

    def _add_node(
        self, op_type: str, inputs: Iterable[str], target: str, axis: int | None = None
    ) -> None:
        node = helper.make_node(op_type, [*inputs], [target], self._free(f"{target}_{op_type}"))
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self._nodes.append(node)

    def _constant(self, name: str, array: Array) -> str:
        """Add an initializer of that name, or the like; its name."""
        free = self._free(name)
        write = reference_to if id(array) in self._referred else numpy_helper.from_array
        self._tensors.append(write(array, free))
        return free

    def _free(self, name: str) -> str:
        """The name, or the like where a value or node has that already."""
        return free_name(name, self._names)

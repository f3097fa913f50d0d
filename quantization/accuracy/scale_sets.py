"""Which channels of a model's values can be scaled, and which only together.

A scale set is a set of channels, of one value or several, that can be multiplied by one positive
factor, if the weights of the layers at the borders of the set are divided by it or multiplied: then
the model computes the same. Operators that are positively homogeneous join the channels of what
they read and write. A layer joins nothing. Everything else fixes what it reads and writes.

Sets begin where constants can take up a factor: at the outputs of layers, or at those of norms.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import onnx

from furiosa_ep.quantization.accuracy.scale_rules import RULES
from furiosa_ep.quantization.accuracy.scale_state import (
    FIXED,
    Begin,
    ScaledConstant,
    ScaleState,
    Sets,
    is_limit,
)
from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.weights import Layer, layers


@dataclass(frozen=True)
class ScaledLayer:
    """A layer and the sets of its channels."""

    layer: Layer
    inputs: Sets
    """One for each input channel."""
    outputs: Sets
    """One for each output channel."""


class ScaleSets(ScaleState):
    """The scale sets of a model."""

    def __init__(
        self,
        graph: EditableGraph,
        known: Iterable[Layer],
        begin: Begin,
        measured: Container[str] | None,
        places: Mapping[str, bool],
    ) -> None:
        super().__init__(graph, begin, measured, places)
        self._layers: list[tuple[Layer, Sets, Sets]] = []
        self._known = {layer.output: layer for layer in known}
        for node in graph.nodes():
            self._visit(node)
            for name in filter(None, node.output):
                if graph.is_kept(name):
                    self.fix(name)

    @property
    def count(self) -> int:
        """How many numbers sets may have."""
        return len(self.parents)

    def values(self) -> list[str]:
        """The values with channels that can be scaled."""
        return [name for name in self.values_seen if self.of(name).any()]

    def layers(self) -> list[ScaledLayer]:
        """The layers whose inputs or outputs can be scaled."""
        rooted = (
            ScaledLayer(layer, self.roots(inputs), self.roots(outputs))
            for layer, inputs, outputs in self._layers
        )
        return [one for one in rooted if one.inputs.any() or one.outputs.any()]

    def constants(self) -> list[ScaledConstant]:
        """The constants that are scaled like what they are added to."""
        rooted = (
            replace(one, sets=self.roots(one.sets), divisors=self.roots(one.divisors))
            for one in self.constants_added
        )
        return [one for one in rooted if one.sets.any() or one.divisors.any()]

    def _visit(self, node: onnx.NodeProto) -> None:
        if node.output[0] in self._known:
            self._visit_layer(self._known[node.output[0]])
            return
        ranks = [self.graph.rank(name) for name in filter(None, node.input)]
        rule = None if node.domain or None in ranks else RULES.get(node.op_type)
        found = rule(self, node) if rule is not None else None
        if found is None:
            for name in filter(None, node.input):
                self.fix(name)
            return
        for name, sets in zip(node.output, found, strict=False):
            if name:
                self.values_seen[name] = _collapsed(sets)

    def _visit_layer(self, layer: Layer) -> None:
        shape = self.graph.shape(layer.input)
        axis = -1 if layer.node.op_type in ("Gemm", "MatMul") else 1
        can_change = (
            shape is not None
            and len(shape) >= 2
            and self.graph.sole_reader(layer.weight) is not None
            and self.graph.dtype(layer.weight) == onnx.TensorProto.FLOAT
            and not (layer.node.op_type == "MatMul" and len(layer.dims) > 2)
            and not attribute(layer.node, "transA", 0)
        )
        if not can_change or shape is None:
            self.fix(layer.input)
            return
        inputs = self.along(layer.input, axis, layer.input_channels)
        outputs = np.full(layer.output_channels, FIXED)
        absent = len(layer.node.input) < 3 or not layer.node.input[2]
        if self.begin == "layers" and (layer.bias or absent):
            outputs = self.fresh(layer.output_channels)
        self._layers.append((layer, inputs, outputs))
        dims = [1] * len(shape)
        dims[axis] = -1
        self.values_seen[layer.output] = outputs.reshape(dims)


def scale_sets(
    model: onnx.ModelProto,
    begin: Begin = "layers",
    measured: Container[str] | None = None,
    places: Mapping[str, bool] = MappingProxyType({}),
) -> tuple[EditableGraph, ScaleSets]:
    """The graph of a model, and the scale sets of it.

    What Clip limits is fixed unless it is `measured` (None: all is), so that a factor can be chosen
    with which it stays below the limit. `places` names constants that Mul nodes read second, one
    number for each channel, and tells whether they are in front of a function or behind it.
    """
    graph = EditableGraph(model)
    return graph, ScaleSets(graph, layers(model), begin, measured, places)


def channels_of(graph: EditableGraph, sets: ScaleSets) -> dict[str, int]:
    """The values with ranges whose sets differ along one axis, and this axis."""
    found = {}
    for name in sets.values():
        axis = channel_axis(sets, name)
        if axis is not None and not is_limit(graph.sole_reader(name)):
            found[name] = axis
    return found


def channel_axis(sets: ScaleSets, name: str) -> int | None:
    """The one axis along which the channels of a value are, where that is known."""
    axes = [axis for axis, length in enumerate(sets.of(name).shape) if length > 1]
    return axes[0] if len(axes) == 1 else None


def _collapsed(sets: Sets) -> Sets:
    """The sets with a length of 1 along axes along which they are the same."""
    for axis in range(sets.ndim):
        first = sets.take([0], axis)
        if sets.shape[axis] > 1 and (sets == first).all():
            sets = first
    return sets

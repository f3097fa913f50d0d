"""Which channels of a model's values can be scaled, and which only together.

A scale set is a set of channels, of one value or several, that can be multiplied by one positive
factor, if the weights of the layers at the borders of the set are divided by it or multiplied: then
the model computes the same. Operators that are positively homogeneous join the channels of what
they read and write. A layer joins nothing. Everything else fixes what it reads and writes.

Sets begin where constants can take up a factor: at the outputs of layers, or at those of norms.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.weights import Layer, layers

Sets: TypeAlias = npt.NDArray[np.intp]
"""The number of the set of each element of a value, in a shape that broadcasts to the value's."""

Begin: TypeAlias = Literal["layers", "norms"]

FIXED = 0
"""The set of what cannot be scaled."""
_NONE = np.full(1, FIXED)
_LARGEST = 1 << 22
"""A value that is reshaped is followed up to so many elements."""


@dataclass(frozen=True)
class ScaledLayer:
    """A layer and the sets of its channels."""

    layer: Layer
    inputs: Sets
    """One for each input channel."""
    outputs: Sets
    """One for each output channel."""


@dataclass(frozen=True)
class ScaledConstant:
    """A constant that is added to a value, or makes it, and so is scaled like it."""

    node: onnx.NodeProto
    position: int
    sets: Sets
    divisors: Sets
    """The sets by whose factors it is divided: fixed ones, but for the constant of a place."""


class ScaleSets:
    """The scale sets of a model."""

    def __init__(
        self,
        graph: EditableGraph,
        known: Iterable[Layer],
        begin: Begin,
        measured: Container[str] | None,
        places: Mapping[str, bool],
    ) -> None:
        self._graph, self._begin, self._measured = graph, begin, measured
        self._places = places
        self._parents = [FIXED]
        self._values: dict[str, Sets] = {}
        self._layers: list[tuple[Layer, Sets, Sets]] = []
        self._constants: list[ScaledConstant] = []
        self._known = {layer.output: layer for layer in known}
        for node in graph.nodes():
            self._visit(node)
            for name in filter(None, node.output):
                if graph.is_kept(name):
                    self._fix(name)

    @property
    def count(self) -> int:
        """How many numbers sets may have."""
        return len(self._parents)

    def of(self, name: str) -> Sets:
        """The sets of a value."""
        return self._roots(self._sets(name))

    def values(self) -> list[str]:
        """The values with channels that can be scaled."""
        return [name for name in self._values if self.of(name).any()]

    def layers(self) -> list[ScaledLayer]:
        """The layers whose inputs or outputs can be scaled."""
        rooted = (
            ScaledLayer(layer, self._roots(inputs), self._roots(outputs))
            for layer, inputs, outputs in self._layers
        )
        return [one for one in rooted if one.inputs.any() or one.outputs.any()]

    def constants(self) -> list[ScaledConstant]:
        """The constants that are scaled like what they are added to."""
        rooted = (
            replace(one, sets=self._roots(one.sets), divisors=self._roots(one.divisors))
            for one in self._constants
        )
        return [one for one in rooted if one.sets.any() or one.divisors.any()]

    def _visit(self, node: onnx.NodeProto) -> None:
        if node.output[0] in self._known:
            self._visit_layer(self._known[node.output[0]])
            return
        ranks = [self._graph.rank(name) for name in filter(None, node.input)]
        rule = None if node.domain or None in ranks else _RULES.get(node.op_type)
        found = rule(self, node) if rule is not None else None
        if found is None:
            for name in filter(None, node.input):
                self._fix(name)
            return
        for name, sets in zip(node.output, found, strict=False):
            if name:
                self._values[name] = _collapsed(sets)

    def _visit_layer(self, layer: Layer) -> None:
        shape = self._graph.shape(layer.input)
        axis = -1 if layer.node.op_type in ("Gemm", "MatMul") else 1
        can_change = (
            shape is not None
            and len(shape) >= 2
            and self._graph.sole_reader(layer.weight) is not None
            and self._graph.dtype(layer.weight) == onnx.TensorProto.FLOAT
            and not (layer.node.op_type == "MatMul" and len(layer.dims) > 2)
            and not attribute(layer.node, "transA", 0)
        )
        if not can_change or shape is None:
            self._fix(layer.input)
            return
        inputs = self._along(layer.input, axis, layer.input_channels)
        outputs = np.full(layer.output_channels, FIXED)
        absent = len(layer.node.input) < 3 or not layer.node.input[2]
        if self._begin == "layers" and (layer.bias or absent):
            outputs = self._fresh(layer.output_channels)
        self._layers.append((layer, inputs, outputs))
        dims = [1] * len(shape)
        dims[axis] = -1
        self._values[layer.output] = outputs.reshape(dims)

    def _along(self, name: str, axis: int, length: int) -> Sets:
        """The sets along one axis; those that differ along others become one."""
        sets = np.moveaxis(self._sets(name), axis, 0)
        flat = sets.reshape(sets.shape[0], -1)
        for column in flat.T[1:]:
            self._join(flat[:, 0], column)
        return np.broadcast_to(flat[:, 0], length)

    def _sets(self, name: str) -> Sets:
        """The sets of a value; inputs and constants are fixed."""
        if name not in self._values:
            rank = self._graph.rank(name)
            return np.full([1] * (rank or 0), FIXED)
        return self._values[name]

    def _fresh(self, count: int) -> Sets:
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def _fix(self, name: str) -> None:
        self._join(self._sets(name), np.array(FIXED))

    def _join(self, first: Sets, second: Sets) -> None:
        pairs = np.stack([one.ravel() for one in np.broadcast_arrays(first, second)])
        for a, b in np.unique(pairs, axis=1).T.tolist():
            low, high = sorted((self._root(a), self._root(b)))
            self._parents[high] = low

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def _roots(self, sets: Sets) -> Sets:
        return np.array([self._root(int(one)) for one in sets.flat], np.intp).reshape(sets.shape)

    # The rules: the sets of the outputs of a node, or None where it fixes everything.

    def same(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Each element depends on the same element alone."""
        others = [name for name in node.input[1:] if name and not self._graph.is_constant(name)]
        return None if others else [self._sets(node.input[0])]

    def spatial(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Each channel depends on the same channel alone."""
        before, after = (self._graph.shape(name) for name in (node.input[0], node.output[0]))
        sets = self._sets(node.input[0])
        if before is None or after is None or not isinstance(before[1], int):
            return None
        if (
            before[1] != after[1]
            or sets.ndim < 3
            or max(sets.shape[2:]) > 1
            or len(node.output) > 1
        ):
            return None
        crops = attribute(node, "coordinate_transformation_mode") == b"tf_crop_and_resize"
        return None if crops else [sets]

    def clip(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Numbers from zero to a limit: the same as Relu for those below the limit."""
        low = self._graph.constant(node.input[1]) if len(node.input) > 1 else None
        name = node.output[0]
        reader = self._graph.sole_reader(name)
        measured = self._measured is None or name in self._measured
        if low is None or low.any() or not measured or _is_limit(reader):
            return None
        return [self._sets(node.input[0])]

    def pad(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Zeros, or elements from beside, but no other numbers."""
        pads = self._graph.constant(node.input[1])
        if pads is None or pads.size != 2 * (self._graph.rank(node.input[0]) or 0):
            return None
        value = self._graph.constant(node.input[2]) if len(node.input) > 2 else np.zeros(())
        if len(node.input) > 2 and not node.input[2]:
            value = np.zeros(())
        is_zero = attribute(node, "mode", b"constant") != b"constant" or (
            value is not None and not value.any()
        )
        moves_channels = pads.reshape(2, -1)[:, :2].any()
        return self.spatial(node) if is_zero and not moves_channels else None

    def reshape(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Elements in the same order, in other dims."""
        before, after = (self._dims(name) for name in (node.input[0], node.output[0]))
        if before is None or after is None or not 0 < np.prod(before) == np.prod(after) < _LARGEST:
            return None
        return [np.broadcast_to(self._sets(node.input[0]), before).reshape(after)]

    def transpose(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Axes in another order."""
        return [self._sets(node.input[0]).transpose(attribute(node, "perm"))]

    def reduce(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Sums, means and extremes along some axes."""
        sets, axes = self._sets(node.input[0]), attribute(node, "axes")
        if len(node.input) > 1 and node.input[1]:
            given = self._graph.constant(node.input[1])
            axes = None if given is None else given.reshape(-1).tolist()
        if not axes or any(sets.shape[axis] > 1 for axis in axes):
            return None
        return [sets if attribute(node, "keepdims", 1) else sets.squeeze(tuple(axes))]

    def concat(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Values side by side."""
        axis, parts = attribute(node, "axis"), []
        for name in node.input:
            shape = self._graph.shape(name)
            length = None if shape is None else shape[axis]
            sets = self._sets(name)
            if not isinstance(length, int) or sets.shape[axis] not in (1, length):
                return None
            parts.append(np.repeat(sets, length // sets.shape[axis], axis))
        dims = np.max([part.shape for part in parts], 0)
        wide = [
            [*dims[: axis % part.ndim], part.shape[axis], *dims[axis % part.ndim + 1 :]]
            for part in parts
        ]
        return [
            np.concatenate([np.broadcast_to(p, d) for p, d in zip(parts, wide, strict=True)], axis)
        ]

    def split(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Parts of a value, one after the other."""
        axis, sets = attribute(node, "axis", 0), self._sets(node.input[0])
        if sets.shape[axis] == 1:
            return [sets] * len(node.output)
        shapes = [self._graph.shape(name) for name in node.output]
        lengths = [0 if shape is None else shape[axis] for shape in shapes]
        if not all(isinstance(one, int) for one in lengths) or sum(lengths) != sets.shape[axis]:
            return None
        return np.split(sets, np.cumsum(lengths)[:-1].astype(int), axis)

    def slice(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """A part of a value."""
        sets = self._sets(node.input[0])
        given = [self._graph.constant(name) for name in node.input[1:]]
        if len(given) < 3 or any(one is None for one in given):
            return None
        starts, ends, axes, *steps = (one.reshape(-1).tolist() for one in given if one is not None)
        for i, axis in enumerate(axes):
            if sets.shape[axis] > 1:
                step = steps[0][i] if steps else 1
                index: list[Any] = [np.s_[:]] * sets.ndim
                end = None if step < 0 and ends[i] < -sets.shape[axis] else ends[i]
                index[axis] = np.s_[starts[i] : end : step]
                sets = sets[tuple(index)]
        return [sets]

    def add(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """The sum or the difference of values, or the greater one."""
        constants = [self._graph.is_constant(name) for name in node.input]
        if any(constants):
            return self._add_constant(node, constants)
        first, *others = (self._sets(name) for name in node.input)
        for one in others:
            self._join(first, one)
        dims = np.broadcast_shapes(first.shape, *(one.shape for one in others))
        return [np.broadcast_to(first, dims)]

    def _add_constant(
        self, node: onnx.NodeProto, constants: Sequence[bool]
    ) -> Sequence[Sets] | None:
        if len(constants) != 2 or all(constants) or node.op_type not in ("Add", "Sub"):
            return None
        position = constants.index(True)
        constant = self._graph.constant(node.input[position])
        sets = self._sets(node.input[1 - position])
        if constant is None or constant.ndim > sets.ndim or constant.dtype != np.float32:
            return None
        self._constants.append(ScaledConstant(node, position, sets, _NONE))
        return [sets]

    def multiply(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """A value times (or over) one whose scale is fixed, such as what a Sigmoid computes."""
        if self._begin == "norms" and node.op_type == "Mul":
            found = self._multiply_constant(node)
            if found is not None:
                return found
        if node.input[1] in self._places:
            return self._place(node)
        first, second = (self.of(name) for name in node.input)
        if second.any() and (first.any() or node.op_type == "Div"):
            shapes = [self._graph.shape(name) for name in (node.input[0], node.output[0])]
            is_gate = node.op_type == "Mul" and shapes[0] != shapes[1]
            self._fix(node.input[0 if is_gate else 1])
            first, second = (self.of(name) for name in node.input)
        dims = np.broadcast_shapes(first.shape, second.shape)
        return [np.broadcast_to(self._sets(node.input[int(second.any())]), dims)]

    def _place(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """A constant in front of a function divides by factors, one behind it multiplies."""
        value, name = node.input
        constant, rank = self._graph.constant(name), self._graph.rank(value)
        if constant is None or rank is None:
            return None
        inputs: Sets = np.full(constant.size, FIXED)
        outputs = inputs
        if self._places[name]:
            inputs = self._along(value, rank - constant.ndim, constant.size)
        else:
            self._fix(value)
            outputs = self._fresh(constant.size)
        outputs, inputs = outputs.reshape(constant.shape), inputs.reshape(constant.shape)
        self._constants.append(ScaledConstant(node, 1, outputs, inputs))
        return [outputs.reshape([1] * (rank - constant.ndim) + list(constant.shape))]

    def _multiply_constant(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Fresh sets where a fixed value is multiplied by one constant for each channel."""
        constants = [self._graph.constant(name) for name in node.input]
        position = 0 if constants[1] is None else 1
        constant, x = constants[position], self.of(node.input[1 - position])
        if constant is None or constant.dtype != np.float32 or x.any():
            return None
        axes = [axis for axis, length in enumerate(constant.shape) if length > 1]
        if len(axes) != 1 or constant.ndim > x.ndim:
            return None
        dims = [1] * (x.ndim - constant.ndim) + list(constant.shape)
        sets = self._fresh(constant.size).reshape(dims)
        shaped = sets.reshape(constant.shape)
        self._constants.append(ScaledConstant(node, position, shaped, _NONE))
        return [sets]

    def norm(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """A norm with a constant scale and bias for each channel."""
        rank = self._graph.rank(node.input[0]) or 0
        constants = [self._graph.constant(name) for name in node.input[1:3]]
        is_last = node.op_type == "LayerNormalization"
        if self._begin != "norms" or rank < 2 or any(map(self._graph.is_used, node.output[1:])):
            return None
        if is_last and attribute(node, "axis", -1) not in (-1, rank - 1):
            return None
        if any(one is None or one.ndim != 1 or one.dtype != np.float32 for one in constants):
            return None
        self._fix(node.input[0])
        sets = self._fresh(constants[0].size)  # type: ignore[union-attr]
        for position in range(1, 1 + len(constants)):
            self._constants.append(ScaledConstant(node, position, sets, _NONE))
        return [sets.reshape([1] * (rank - 1) + [-1] if is_last else [1, -1] + [1] * (rank - 2))]

    def depth_to_space(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """The channels of a block become pixels of one channel."""
        sets, area = self._sets(node.input[0]), attribute(node, "blocksize") ** 2
        if sets.shape[1] == 1:
            return [sets]
        if sets.ndim != 4 or sets.shape[0] * sets.shape[2] * sets.shape[3] > 1:
            return None
        is_crd = attribute(node, "mode", b"DCR") == b"CRD"
        blocks = sets.reshape(-1, area).T if is_crd else sets.reshape(area, -1)
        self._join(blocks[0], blocks)
        return [blocks[0].reshape(1, -1, 1, 1)]

    def ignore(self, node: onnx.NodeProto) -> Sequence[Sets] | None:
        """Nothing depends on the numbers."""
        return [np.full(1, FIXED)]

    def _dims(self, name: str) -> list[int] | None:
        """The dims of a value, of one sample where there may be any number."""
        shape = self._graph.shape(name)
        if shape is None or not all(isinstance(dim, int) for dim in shape[1:]):
            return None
        return [dim if isinstance(dim, int) else 1 for dim in shape]


_Rule: TypeAlias = Callable[[ScaleSets, onnx.NodeProto], Sequence[Sets] | None]

_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Abs", "Neg", "Identity"), ScaleSets.same),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "Resize"),
        ScaleSets.spatial,
    ),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), ScaleSets.reduce),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), ScaleSets.reshape),
    **dict.fromkeys(("Add", "Sub", "Sum", "Max", "Min", "Mean"), ScaleSets.add),
    **dict.fromkeys(("Mul", "Div"), ScaleSets.multiply),
    **dict.fromkeys(("Shape", "Size"), ScaleSets.ignore),
    "Clip": ScaleSets.clip,
    "Pad": ScaleSets.pad,
    "Transpose": ScaleSets.transpose,
    "Concat": ScaleSets.concat,
    "Split": ScaleSets.split,
    "Slice": ScaleSets.slice,
    "DepthToSpace": ScaleSets.depth_to_space,
    **dict.fromkeys(
        ("LayerNormalization", "BatchNormalization", "InstanceNormalization"), ScaleSets.norm
    ),
}


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
        if axis is not None and not _is_limit(graph.sole_reader(name)):
            found[name] = axis
    return found


def channel_axis(sets: ScaleSets, name: str) -> int | None:
    """The one axis along which the channels of a value are, where that is known."""
    axes = [axis for axis, length in enumerate(sets.of(name).shape) if length > 1]
    return axes[0] if len(axes) == 1 else None


def _is_limit(reader: onnx.NodeProto | None) -> bool:
    """Whether a value has no range of its own, for this alone reads it."""
    return reader is not None and not reader.domain and reader.op_type in ("Relu", "Clip")


def _collapsed(sets: Sets) -> Sets:
    """The sets with a length of 1 along axes along which they are the same."""
    for axis in range(sets.ndim):
        first = sets.take([0], axis)
        if sets.shape[axis] > 1 and (sets == first).all():
            sets = first
    return sets

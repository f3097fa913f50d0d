"""What operators do to scale sets: those of their results, from those of what they read.

A rule gives the sets of the outputs of a node, or None where the node fixes everything.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx

from furiosa_ep.quantization.accuracy.scale_state import (
    FIXED,
    NONE,
    ScaledConstant,
    ScaleState,
    Sets,
    is_limit,
)
from furiosa_ep.quantization.optimize.editing import attribute

_LARGEST = 1 << 22
"""A value that is reshaped is followed up to so many elements."""


def same(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Each element depends on the same element alone."""
    others = [name for name in node.input[1:] if name and not state.graph.is_constant(name)]
    return None if others else [state.sets(node.input[0])]


def spatial(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Each channel depends on the same channel alone."""
    before, after = (state.graph.shape(name) for name in (node.input[0], node.output[0]))
    sets = state.sets(node.input[0])
    if before is None or after is None or not isinstance(before[1], int):
        return None
    if before[1] != after[1] or sets.ndim < 3 or max(sets.shape[2:]) > 1 or len(node.output) > 1:
        return None
    crops = attribute(node, "coordinate_transformation_mode") == b"tf_crop_and_resize"
    return None if crops else [sets]


def clip(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Numbers from zero to a limit: the same as Relu for those below the limit."""
    low = state.graph.constant(node.input[1]) if len(node.input) > 1 else None
    name = node.output[0]
    reader = state.graph.sole_reader(name)
    measured = state.measured is None or name in state.measured
    if low is None or low.any() or not measured or is_limit(reader):
        return None
    return [state.sets(node.input[0])]


def pad(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Zeros, or elements from beside, but no other numbers."""
    pads = state.graph.constant(node.input[1])
    if pads is None or pads.size != 2 * (state.graph.rank(node.input[0]) or 0):
        return None
    value = state.graph.constant(node.input[2]) if len(node.input) > 2 else np.zeros(())
    if len(node.input) > 2 and not node.input[2]:
        value = np.zeros(())
    is_zero = attribute(node, "mode", b"constant") != b"constant" or (
        value is not None and not value.any()
    )
    moves_channels = pads.reshape(2, -1)[:, :2].any()
    return spatial(state, node) if is_zero and not moves_channels else None


def reshape(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Elements in the same order, in other dims."""
    before, after = (_dims(state, name) for name in (node.input[0], node.output[0]))
    if before is None or after is None or not 0 < np.prod(before) == np.prod(after) < _LARGEST:
        return None
    return [np.broadcast_to(state.sets(node.input[0]), before).reshape(after)]


def transpose(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Axes in another order."""
    return [state.sets(node.input[0]).transpose(attribute(node, "perm"))]


def reduce(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Sums, means and extremes along some axes."""
    sets, axes = state.sets(node.input[0]), attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        given = state.graph.constant(node.input[1])
        axes = None if given is None else given.reshape(-1).tolist()
    if not axes or any(sets.shape[axis] > 1 for axis in axes):
        return None
    return [sets if attribute(node, "keepdims", 1) else sets.squeeze(tuple(axes))]


def concat(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Values side by side."""
    axis, parts = attribute(node, "axis"), []
    for name in node.input:
        shape = state.graph.shape(name)
        length = None if shape is None else shape[axis]
        sets = state.sets(name)
        if not isinstance(length, int) or sets.shape[axis] not in (1, length):
            return None
        parts.append(np.repeat(sets, length // sets.shape[axis], axis))
    dims = np.max([part.shape for part in parts], 0)
    wide = [
        [*dims[: axis % part.ndim], part.shape[axis], *dims[axis % part.ndim + 1 :]]
        for part in parts
    ]
    return [np.concatenate([np.broadcast_to(p, d) for p, d in zip(parts, wide, strict=True)], axis)]


def split(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Parts of a value, one after the other."""
    axis, sets = attribute(node, "axis", 0), state.sets(node.input[0])
    if sets.shape[axis] == 1:
        return [sets] * len(node.output)
    shapes = [state.graph.shape(name) for name in node.output]
    lengths = [0 if shape is None else shape[axis] for shape in shapes]
    if not all(isinstance(one, int) for one in lengths) or sum(lengths) != sets.shape[axis]:
        return None
    return np.split(sets, np.cumsum(lengths)[:-1].astype(int), axis)


def cut(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """A part of a value."""
    sets = state.sets(node.input[0])
    given = [state.graph.constant(name) for name in node.input[1:]]
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


def add(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """The sum or the difference of values, or the greater one."""
    constants = [state.graph.is_constant(name) for name in node.input]
    if any(constants):
        return _add_constant(state, node, constants)
    first, *others = (state.sets(name) for name in node.input)
    for one in others:
        state.join(first, one)
    dims = np.broadcast_shapes(first.shape, *(one.shape for one in others))
    return [np.broadcast_to(first, dims)]


def _add_constant(
    state: ScaleState, node: onnx.NodeProto, constants: Sequence[bool]
) -> Sequence[Sets] | None:
    if len(constants) != 2 or all(constants) or node.op_type not in ("Add", "Sub"):
        return None
    position = constants.index(True)
    constant = state.graph.constant(node.input[position])
    sets = state.sets(node.input[1 - position])
    if constant is None or constant.ndim > sets.ndim or constant.dtype != np.float32:
        return None
    state.constants_added.append(ScaledConstant(node, position, sets, NONE))
    return [sets]


def multiply(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """A value times (or over) one whose scale is fixed, such as what a Sigmoid computes."""
    if state.begin == "norms" and node.op_type == "Mul":
        found = _multiply_constant(state, node)
        if found is not None:
            return found
    if node.input[1] in state.places:
        return _place(state, node)
    first, second = (state.of(name) for name in node.input)
    if second.any() and (first.any() or node.op_type == "Div"):
        shapes = [state.graph.shape(name) for name in (node.input[0], node.output[0])]
        is_gate = node.op_type == "Mul" and shapes[0] != shapes[1]
        state.fix(node.input[0 if is_gate else 1])
        first, second = (state.of(name) for name in node.input)
    dims = np.broadcast_shapes(first.shape, second.shape)
    return [np.broadcast_to(state.sets(node.input[int(second.any())]), dims)]


def _place(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """A constant in front of a function divides by factors, one behind it multiplies."""
    value, name = node.input
    constant, rank = state.graph.constant(name), state.graph.rank(value)
    if constant is None or rank is None:
        return None
    inputs: Sets = np.full(constant.size, FIXED)
    outputs = inputs
    if state.places[name]:
        inputs = state.along(value, rank - constant.ndim, constant.size)
    else:
        state.fix(value)
        outputs = state.fresh(constant.size)
    outputs, inputs = outputs.reshape(constant.shape), inputs.reshape(constant.shape)
    state.constants_added.append(ScaledConstant(node, 1, outputs, inputs))
    return [outputs.reshape([1] * (rank - constant.ndim) + list(constant.shape))]


def _multiply_constant(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Fresh sets where a fixed value is multiplied by one constant for each channel."""
    constants = [state.graph.constant(name) for name in node.input]
    position = 0 if constants[1] is None else 1
    constant, x = constants[position], state.of(node.input[1 - position])
    if constant is None or constant.dtype != np.float32 or x.any():
        return None
    axes = [axis for axis, length in enumerate(constant.shape) if length > 1]
    if len(axes) != 1 or constant.ndim > x.ndim:
        return None
    dims = [1] * (x.ndim - constant.ndim) + list(constant.shape)
    sets = state.fresh(constant.size).reshape(dims)
    shaped = sets.reshape(constant.shape)
    state.constants_added.append(ScaledConstant(node, position, shaped, NONE))
    return [sets]


def norm(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """A norm with a constant scale and bias for each channel."""
    rank = state.graph.rank(node.input[0]) or 0
    constants = [state.graph.constant(name) for name in node.input[1:3]]
    is_last = node.op_type == "LayerNormalization"
    if state.begin != "norms" or rank < 2 or any(map(state.graph.is_used, node.output[1:])):
        return None
    if is_last and attribute(node, "axis", -1) not in (-1, rank - 1):
        return None
    if any(one is None or one.ndim != 1 or one.dtype != np.float32 for one in constants):
        return None
    state.fix(node.input[0])
    sets = state.fresh(constants[0].size)  # type: ignore[union-attr]
    for position in range(1, 1 + len(constants)):
        state.constants_added.append(ScaledConstant(node, position, sets, NONE))
    return [sets.reshape([1] * (rank - 1) + [-1] if is_last else [1, -1] + [1] * (rank - 2))]


def depth_to_space(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """The channels of a block become pixels of one channel."""
    sets, area = state.sets(node.input[0]), attribute(node, "blocksize") ** 2
    if sets.shape[1] == 1:
        return [sets]
    if sets.ndim != 4 or sets.shape[0] * sets.shape[2] * sets.shape[3] > 1:
        return None
    is_crd = attribute(node, "mode", b"DCR") == b"CRD"
    blocks = sets.reshape(-1, area).T if is_crd else sets.reshape(area, -1)
    state.join(blocks[0], blocks)
    return [blocks[0].reshape(1, -1, 1, 1)]


def ignore(state: ScaleState, node: onnx.NodeProto) -> Sequence[Sets] | None:
    """Nothing depends on the numbers."""
    return [np.full(1, FIXED)]


def _dims(state: ScaleState, name: str) -> list[int] | None:
    """The dims of a value, of one sample where there may be any number."""
    shape = state.graph.shape(name)
    if shape is None or not all(isinstance(dim, int) for dim in shape[1:]):
        return None
    return [dim if isinstance(dim, int) else 1 for dim in shape]


Rule: TypeAlias = Callable[[ScaleState, onnx.NodeProto], Sequence[Sets] | None]

RULES: dict[str, Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Abs", "Neg", "Identity"), same),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "Resize"),
        spatial,
    ),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), reduce),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshape),
    **dict.fromkeys(("Add", "Sub", "Sum", "Max", "Min", "Mean"), add),
    **dict.fromkeys(("Mul", "Div"), multiply),
    **dict.fromkeys(("Shape", "Size"), ignore),
    "Clip": clip,
    "Pad": pad,
    "Transpose": transpose,
    "Concat": concat,
    "Split": split,
    "Slice": cut,
    "DepthToSpace": depth_to_space,
    **dict.fromkeys(("LayerNormalization", "BatchNormalization", "InstanceNormalization"), norm),
}

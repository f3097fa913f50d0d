"""Parts of a value: Slice, Split and Gather with known indices."""

import numpy as np

from furiosa_ep.graph import DeviceValue, Graph
from furiosa_ep.partitioner.operators.emitting import (
    convert,
    integers,
    movement,
    reshape,
    slice_axes,
)
from furiosa_ep.partitioner.operators.rules import (
    HAS_AXES,
    MOVEMENT,
    eight_bit,
    known,
    quantization,
    representable,
    usable_scales,
)
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)


def cut(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Slice: from `starts` to `ends` in `steps`, along `axes`."""
    starts = integers(unit, builder, "starts", 1) or []
    ends = integers(unit, builder, "ends", 2) or []
    axes = integers(unit, builder, "axes", 3)
    axes = list(range(len(starts))) if axes is None else axes
    steps = integers(unit, builder, "steps", 4) or [1] * len(starts)
    firsts, shape, strides = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        dim = x.shape[axis]
        # Below -dim means before the first element, which Python cannot say with a number.
        stop = None if step < 0 and end < -dim else end
        places = range(dim)[start:stop:step]
        firsts[axis], shape[axis], strides[axis] = places.start, len(places), step
    return slice_axes(x, firsts, shape, builder, strides)


def split_sizes(unit: NodeUnit, builder: Builder, dim: int) -> list[int]:
    """How many elements of the split axis each output gets."""
    sizes = integers(unit, builder, "split", 1)
    if sizes is not None:
        return sizes
    count = unit.node.attributes.get("num_outputs", len(unit.node.outputs))
    size = -(-dim // count)
    return [max(0, min(size, dim - size * position)) for position in range(count)]


def lower_split(unit: NodeUnit, builder: Builder) -> None:
    """One Slice for each output that has a name."""
    x = builder.value(unit.inputs[0])
    source = quantization(unit.inputs[0], builder.graph)
    axis = unit.node.attributes.get("axis", 0) % len(x.shape)
    start = 0
    for output, size in zip(unit.outputs, split_sizes(unit, builder, x.shape[axis]), strict=True):
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        starts = [start if one == axis else 0 for one in range(len(shape))]
        start += size
        if output.name:
            part = slice_axes(x, starts, shape, builder)
            builder.set(output, convert(part, source, output.params, builder))


def gather(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Gather: the elements at `indices` of one axis; a Slice where they are evenly spaced."""
    array = builder.folded(unit.node.inputs[1])
    if array is None:
        raise ValueError(f"{unit.node.inputs[1]!r}: expected indices that are known")
    axis = unit.node.attributes.get("axis", 0) % len(x.shape)
    dim = x.shape[axis]
    indices = np.where(array < 0, array + dim, array).astype(np.int64)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    flat = indices.reshape(-1)
    steps = set(np.diff(flat).tolist())
    if flat.size and len(steps) <= 1 and steps != {0}:
        rank = range(len(x.shape))
        part = slice_axes(
            x,
            [int(flat[0]) if one == axis else 0 for one in rank],
            [flat.size if one == axis else x.shape[one] for one in rank],
            builder,
            [next(iter(steps), 1) if one == axis else 1 for one in rank],
        )
        return reshape(part, shape, builder)
    return builder.emit("Gather", [x], shape, x.dtype, signed=x.signed, axis=axis, indices=indices)


@constraint(DeclineCode.SHAPE, "Correct the indices: ONNX Runtime fails in the run.")
def indices_in_range(unit: NodeUnit, graph: Graph) -> str | None:
    """Constant indices must lie within the axis."""
    indices = graph.constant(unit.node.input(1))
    shape = graph.shape(unit.inputs[0].name)
    axis = unit.node.attributes.get("axis", 0)
    if indices is None or not shape or not -len(shape) <= axis < len(shape):
        return None
    dim = shape[axis]
    if isinstance(dim, int) and indices.size and not (-dim <= indices.min() <= indices.max() < dim):
        return f"indices from {indices.min()} to {indices.max()} of an axis of {dim}"
    return None


SUPPORT = (
    OperatorSupport(
        "Slice",
        movement(cut),
        (*MOVEMENT, known(1, "starts"), known(2, "ends"), known(3, "axes"), known(4, "steps")),
    ),
    OperatorSupport(
        "Split",
        lower_split,
        (eight_bit, usable_scales, HAS_AXES, known(1, "split"), representable),
        since=2,
    ),
    OperatorSupport(
        "Gather",
        movement(gather),
        (*MOVEMENT, HAS_AXES, known(1, "indices", optional=False), indices_in_range),
    ),
)

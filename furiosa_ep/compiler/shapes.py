"""The output shape that the inputs and attributes of a device operation imply."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]


def output_shape(
    kind: str, inputs: Sequence[Shape | None], attributes: Mapping[str, Any]
) -> Shape | None:
    """The shape of the only output, or None where the kind leaves it to the lowering.

    `inputs` are the shapes of the operands, None for one that is absent.

    Raises:
        ValueError: where the operands do not fit together; the message says how.
    """
    rule = _RULES.get(kind)
    return (
        None if rule is None else rule([shape for shape in inputs if shape is not None], attributes)
    )


def slid(shape: Shape, kernel: Sequence[int], attributes: Mapping[str, Any]) -> Shape:
    """The spatial dims that are left when a window slides over `shape` (N, C, spatial...)."""
    pads = attributes["pads"]
    spatial = len(shape) - 2
    if not len(kernel) == len(attributes["strides"]) == len(pads) // 2 == spatial:
        raise ValueError(f"kernel {list(kernel)} and pads {list(pads)} for {spatial} spatial axes")
    return tuple(
        max(
            0,
            (shape[2 + i] + pads[i] + pads[spatial + i] - dilation * (kernel[i] - 1) - 1) // stride
            + 1,
        )
        for i, (stride, dilation) in enumerate(
            zip(attributes["strides"], attributes["dilations"], strict=True)
        )
    )


def _same(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    return inputs[0]


def _along_axis(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    _axis(attributes["axis"], len(inputs[0]))
    return inputs[0]


def _broadcast(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    return np.broadcast_shapes(*inputs)


def _conv(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    x, w = inputs[:2]
    _check_image(x)
    if len(w) != len(x):
        raise ValueError(f"x {list(x)} and w {list(w)}: expected both of rank 3 or 4")
    if x[1] != w[1] * attributes["group"] or w[0] % attributes["group"]:
        raise ValueError(f"x {list(x)} and w {list(w)} in {attributes['group']} groups")
    return (x[0], w[0], *slid(x, w[2:], attributes))


def _conv_transpose(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    x, w = inputs[:2]
    _check_image(x)
    if len(w) != len(x) or x[1] != w[0] or w[0] % attributes["group"]:
        raise ValueError(f"x {list(x)} and w {list(w)} in {attributes['group']} groups")
    pads, spatial = attributes["pads"], len(x) - 2
    sizes = (
        (x[2 + i] - 1) * attributes["strides"][i]
        + attributes["output_padding"][i]
        + (w[2 + i] - 1) * attributes["dilations"][i]
        + 1
        - pads[i]
        - pads[spatial + i]
        for i in range(spatial)
    )
    return (x[0], w[1] * attributes["group"], *sizes)


def _matmul(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    a, b = inputs
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError(f"a {list(a)} and b {list(b)} are no matrices of one inner size")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def _global_pool(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    (x,) = inputs
    _check_image(x)
    return (*x[:2], *(1,) * (len(x) - 2))


def _reduce(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    (x,) = inputs
    axes = {_axis(axis, len(x)) for axis in attributes["axes"]}
    if len(axes) != len(attributes["axes"]):
        raise ValueError(f"axes {list(attributes['axes'])} of rank {len(x)}: one is there twice")
    if attributes["keepdims"]:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(x))
    return tuple(dim for axis, dim in enumerate(x) if axis not in axes)


def _transpose(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    (x,) = inputs
    if sorted(attributes["perm"]) != list(range(len(x))):
        raise ValueError(f"perm {list(attributes['perm'])} of rank {len(x)}")
    return tuple(x[axis] for axis in attributes["perm"])


def _concat(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    axis = _axis(attributes["axis"], len(inputs[0]))
    rests = {shape[:axis] + shape[axis + 1 :] for shape in inputs}
    if len(rests) != 1:
        raise ValueError(f"shapes {[list(s) for s in inputs]} differ beside axis {axis}")
    total = sum(shape[axis] for shape in inputs)
    return (*inputs[0][:axis], total, *inputs[0][axis + 1 :])


def _pad(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    (x,) = inputs
    pads = attributes["pads"]
    if len(pads) != 2 * len(x) or min(pads, default=0) < 0:
        raise ValueError(f"pads {list(pads)} of rank {len(x)}: expected two a dim, none negative")
    return tuple(dim + pads[i] + pads[len(x) + i] for i, dim in enumerate(x))


def _gather(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    (x,) = inputs
    axis = _axis(attributes["axis"], len(x))
    _check_indices(attributes["indices"], x[axis])
    return (*x[:axis], *np.shape(attributes["indices"]), *x[axis + 1 :])


def _resize_nearest(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    (x,) = inputs
    rows, columns = attributes["rows"], attributes["columns"]
    _check_resized(x, rows, columns)
    return (*x[:2], len(rows), len(columns))


def _resize_linear(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
    (x,) = inputs
    rows, columns = attributes["rows"], attributes["columns"]
    _check_resized(x, rows, columns)
    for name, indices in (("row_weights", rows), ("column_weights", columns)):
        if not np.shape(attributes[name]) == np.shape(indices) == (len(indices), 2):
            raise ValueError(f"indices {np.shape(indices)} and {name} {np.shape(attributes[name])}")
    return (*x[:2], len(rows), len(columns))


def _check_resized(x: Shape, rows: Any, columns: Any) -> None:
    if len(x) != 4:
        raise ValueError(f"x {list(x)}: expected rank 4")
    _check_indices(rows, x[2])
    _check_indices(columns, x[3])


def _check_indices(indices: Any, dim: int) -> None:
    array = np.asarray(indices)
    if array.size and not (array.min() >= 0 and array.max() < dim):
        raise ValueError(f"indices from {array.min()} to {array.max()} of {dim} elements")


def _check_image(x: Shape) -> None:
    if len(x) not in (3, 4):
        raise ValueError(f"x {list(x)}: expected rank 3 or 4")


def _axis(axis: int, rank: int) -> int:
    """The axis, counted from the first one."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of rank {rank}")
    return axis % rank


_RULES: Mapping[str, Callable[[Sequence[Shape], Mapping[str, Any]], Shape | None]] = {
    "Quantize": _same,
    "Dequantize": _same,
    "Lookup": _same,
    "Softmax": _along_axis,
    "LpNormalization": _along_axis,
    "Add": _broadcast,
    "Mul": _broadcast,
    "Expression": _broadcast,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "GlobalAveragePool": _global_pool,
    "Reduce": _reduce,
    "Transpose": _transpose,
    "Concat": _concat,
    "Pad": _pad,
    "Gather": _gather,
    "ResizeNearest": _resize_nearest,
    "ResizeLinear": _resize_linear,
}


def check_shape(
    kind: str, inputs: Sequence[Shape | None], attributes: Mapping[str, Any], shape: Shape
) -> None:
    """Check that an operation may have an output of `shape`.

    Raises:
        ValueError: where it may not; the message says why.
    """
    if min(shape, default=0) < 0:
        raise ValueError(f"output {list(shape)}")
    expected = output_shape(kind, inputs, attributes)
    if expected is not None and expected != shape:
        raise ValueError(f"output {list(shape)}: the operands give {list(expected)}")
    first = next((one for one in inputs if one is not None), ())
    if kind == "Reshape" and math.prod(first) != math.prod(shape):
        raise ValueError(f"cannot reshape {list(first)} to {list(shape)}")
    if kind == "Expand" and np.broadcast_shapes(first, shape) != shape:
        raise ValueError(f"cannot expand {list(first)} to {list(shape)}")
    if kind == "Slice":
        _check_slice(first, attributes, shape)
    if kind in ("MaxPool", "AveragePool"):
        _check_pool(first, attributes, shape)


def _check_slice(x: Shape, attributes: Mapping[str, Any], shape: Shape) -> None:
    starts, steps = attributes["starts"], attributes["steps"]
    if not len(starts) == len(steps) == len(x) == len(shape):
        raise ValueError(f"starts {list(starts)}, steps {list(steps)} of rank {len(x)}")
    for dim, start, step, size in zip(x, starts, steps, shape, strict=True):
        if size and not (0 <= start < dim and 0 <= start + (size - 1) * step < dim):
            raise ValueError(f"{size} elements from {start} in steps of {step}, of {dim}")


def _check_pool(x: Shape, attributes: Mapping[str, Any], shape: Shape) -> None:
    _check_image(x)
    # With ceil_mode a last window may begin inside the image and end outside of the pads.
    least = (*x[:2], *slid(x, attributes["kernel"], attributes))
    rounded = len(shape) == len(least) and all(
        low <= dim <= low + (axis >= 2)
        for axis, (low, dim) in enumerate(zip(least, shape, strict=True))
    )
    if not rounded:
        raise ValueError(f"output {list(shape)}: the operands give {list(least)}, or one more")

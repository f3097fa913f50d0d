"""Shape arithmetic, evaluated at compile time on concrete shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.errors import CompileError
from furiosa_ep.graph import Node
from furiosa_ep.graph.element_type import numpy_dtype

Array = npt.NDArray[Any]
Arrays = Sequence[Array | None]


def fold(node: Node, inputs: Arrays) -> tuple[Array, ...]:
    """The outputs of a node whose inputs are all known (None where an optional one is absent).

    Raises:
        CompileError: for an operator that does not fold, or inputs that it does not take.
    """
    rule = _RULES.get(node.op_type)
    if rule is None or node.domain:
        raise CompileError(
            f"node {node.label!r}: {node.op_type} does not fold at compile time, expected one of "
            f"{', '.join(sorted(_RULES))}"
        )
    try:
        results = rule(node, inputs)
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        shapes = [None if one is None else one.tolist() for one in inputs]
        raise CompileError(f"node {node.label!r} ({node.op_type} of {shapes}): {error}") from error
    return tuple(np.asarray(one) for one in (results if isinstance(results, list) else [results]))


FOLDABLE: frozenset[str]
"""The operators of the default domain that `fold` evaluates, `Shape` and `Size` included."""


def fold_shape(node: Node, shape: Sequence[int]) -> Array:
    """The output of a Shape or Size node whose input has `shape`."""
    if node.op_type == "Size":
        return np.array(np.prod(shape, dtype=np.int64))
    start = node.attributes.get("start", 0)
    return np.array(shape[start : node.attributes.get("end")], np.int64)


def _attribute_or_input(node: Node, inputs: Arrays, name: str, position: int) -> Any:
    if name in node.attributes:
        return node.attributes[name]
    array = inputs[position] if position < len(inputs) else None
    return None if array is None else array.reshape(-1).tolist()


def _data(inputs: Arrays) -> Array:
    data = inputs[0]
    if data is None:
        raise ValueError("input 0 is absent")
    return data


def _elementwise(function: Callable[..., Array]) -> Callable[[Node, Arrays], Array]:
    def rule(node: Node, inputs: Arrays) -> Array:
        result: Array = inputs[0]  # type: ignore[assignment]
        if len(inputs) == 1 and not isinstance(function, np.ufunc):
            return np.asarray(function(result))
        if isinstance(function, np.ufunc) and function.nin == 1:
            return np.asarray(function(result))
        for other in inputs[1:]:
            result = np.asarray(function(result, other))
        return result

    return rule


def _divide(a: Array, b: Array) -> Array:
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(a / b)
    if not np.all(b):
        raise ZeroDivisionError("division by zero")
    return np.asarray(
        np.trunc(np.true_divide(a, b)).astype(a.dtype) if (a < 0).any() | (b < 0).any() else a // b
    )


def _cast(node: Node, inputs: Arrays) -> Array:
    target = numpy_dtype(node.attributes["to"])
    return _data(inputs).astype(target)


def _gather(node: Node, inputs: Arrays) -> Array:
    indices = inputs[1]
    if indices is None:
        raise ValueError("input 1 is absent")
    return np.take(_data(inputs), indices, axis=node.attributes.get("axis", 0))


def _concat(node: Node, inputs: Arrays) -> Array:
    return np.concatenate([one for one in inputs if one is not None], node.attributes["axis"])


def _slice(node: Node, inputs: Arrays) -> Array:
    data = _data(inputs)
    starts = _attribute_or_input(node, inputs, "starts", 1)
    ends = _attribute_or_input(node, inputs, "ends", 2)
    axes = _attribute_or_input(node, inputs, "axes", 3) or range(len(starts))
    steps = _attribute_or_input(node, inputs, "steps", 4) or [1] * len(starts)
    index: list[slice] = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # An end before the first element, which Python cannot write as a number.
        stop = None if step < 0 and end < -data.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return data[tuple(index)]


def _squeeze(node: Node, inputs: Arrays) -> Array:
    axes = _attribute_or_input(node, inputs, "axes", 1)
    return np.squeeze(_data(inputs), None if axes is None else tuple(axes))


def _unsqueeze(node: Node, inputs: Arrays) -> Array:
    return np.expand_dims(_data(inputs), tuple(_attribute_or_input(node, inputs, "axes", 1)))


def _reshape(node: Node, inputs: Arrays) -> Array:
    data, shape = _data(inputs), _attribute_or_input(node, inputs, "shape", 1)
    if not node.attributes.get("allowzero", 0):
        shape = [data.shape[axis] if dim == 0 else dim for axis, dim in enumerate(shape)]
    return data.reshape(shape)


def _constant_of_shape(node: Node, inputs: Arrays) -> Array:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32)))
    return np.full(_data(inputs).tolist(), value.reshape(-1)[0], value.dtype)


def _range(node: Node, inputs: Arrays) -> Array:
    start, limit, delta = (_data([one]).item() for one in inputs)
    return np.arange(start, limit, delta, dtype=_data(inputs).dtype)


def _where(node: Node, inputs: Arrays) -> Array:
    condition, a, b = (_data([one]) for one in inputs)
    return np.where(condition, a, b)


def _expand(node: Node, inputs: Arrays) -> Array:
    data, shape = _data(inputs), tuple(_attribute_or_input(node, inputs, "shape", 1))
    return np.broadcast_to(data, np.broadcast_shapes(data.shape, shape))


def _tile(node: Node, inputs: Arrays) -> Array:
    return np.tile(_data(inputs), _attribute_or_input(node, inputs, "repeats", 1))


def _reduction(function: Callable[..., Any]) -> Callable[[Node, Arrays], Array]:
    def rule(node: Node, inputs: Arrays) -> Array:
        data, axes = _data(inputs), _attribute_or_input(node, inputs, "axes", 1)
        if not axes and node.attributes.get("noop_with_empty_axes", 0):
            return data
        result = function(
            data,
            axis=tuple(axes) if axes else None,
            keepdims=bool(node.attributes.get("keepdims", 1)),
        )
        return np.asarray(result, data.dtype)

    return rule


def _split(node: Node, inputs: Arrays) -> list[Array]:
    data, axis = _data(inputs), node.attributes.get("axis", 0)
    sizes = _attribute_or_input(node, inputs, "split", 1)
    if sizes is None:
        count = len(node.outputs)
        size = -(-data.shape[axis] // count)
        sizes = [size] * (count - 1) + [data.shape[axis] - size * (count - 1)]
    return np.split(data, np.cumsum(sizes)[:-1], axis)


def _transpose(node: Node, inputs: Arrays) -> Array:
    return np.transpose(_data(inputs), node.attributes.get("perm"))


def _flatten(node: Node, inputs: Arrays) -> Array:
    data, axis = _data(inputs), node.attributes.get("axis", 1)
    rows = int(np.prod(data.shape[:axis], dtype=np.int64))
    return data.reshape(rows, -1) if data.size else data.reshape(rows, 0)


_RULES: Mapping[str, Callable[[Node, Arrays], Array | list[Array]]] = {
    "Shape": lambda node, inputs: fold_shape(node, _data(inputs).shape),
    "Size": lambda node, inputs: fold_shape(node, _data(inputs).shape),
    "Identity": lambda node, inputs: _data(inputs),
    "Cast": _cast,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Where": _where,
    "Expand": _expand,
    "Tile": _tile,
    "Split": _split,
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(_divide),
    "Mod": _elementwise(np.mod),
    "Min": _elementwise(np.minimum),
    "Max": _elementwise(np.maximum),
    "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.absolute),
    "Floor": _elementwise(np.floor),
    "Ceil": _elementwise(np.ceil),
    "Round": _elementwise(np.rint),
    "Sqrt": _elementwise(np.sqrt),
    "Equal": _elementwise(np.equal),
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "And": _elementwise(np.logical_and),
    "Or": _elementwise(np.logical_or),
    "Not": _elementwise(np.logical_not),
}
FOLDABLE = frozenset(_RULES)

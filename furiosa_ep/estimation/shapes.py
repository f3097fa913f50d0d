"""Models with the shapes that they are estimated for: nothing is left open."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.quantization.optimize.copies import is_shape_alone
from furiosa_ep.quantization.optimize.shapes import declared_shapes, infer_shapes

Dims: TypeAlias = tuple[int | str | None, ...]
Shapes: TypeAlias = Mapping[str, Sequence[int]]


class Fixed(NamedTuple):
    """The shapes that a model is estimated for."""

    batch: int
    larger: Mapping[str, tuple[int, ...]]
    """Inputs that are for one sample in the model, with the shapes for the batch."""


def is_open(model: onnx.ModelProto) -> bool:
    """Whether the shape of an input is not fixed."""
    return any(not isinstance(dim, int) for one in _inputs(model).values() for dim in _dims(one))


def fix_shapes(model: onnx.ModelProto, batch: int | None, shapes: Shapes) -> Fixed:
    """Give a shape to every input of a model, which is changed.

    `shapes` are whole shapes of inputs. Of others, an open first dim becomes the batch, 1 by
    default. A first dim of 1 stays: `enlarge` changes it.

    Raises:
        EstimateError: for an unknown input, a shape that does not fit, dims that stay open, and
            another batch than the model is fixed to.
    """
    inputs = _inputs(model)
    unknown = sorted(shapes.keys() - inputs.keys())
    if unknown:
        raise EstimateError(f"no input {unknown[0]!r}; the model has {', '.join(inputs) or 'none'}")
    declared = {name: _dims(value) for name, value in inputs.items()}
    found = {
        name: _given(name, dims, shapes[name]) if name in shapes else _filled(name, dims, batch)
        for name, dims in declared.items()
    }
    larger = {
        name: found[name] for name, dims in declared.items() if dims[:1] == (1,) != found[name][:1]
    }
    _set_shapes(model, {**found, **{name: (1, *shape[1:]) for name, shape in larger.items()}})
    images = (shape[0] for shape in found.values() if len(shape) > 1)
    return Fixed(batch or next(images, 1), larger)


def enlarge(model: onnx.ModelProto, larger: Mapping[str, tuple[int, ...]]) -> None:
    """Change a model for one sample into one for a batch: its inputs, and what Reshape makes.

    Where Reshape turns a first dim of 1 into a constant 1, it copies the dim instead.
    """
    infer_shapes(model)
    shapes = {name: dims for name, (_, dims) in declared_shapes(model.graph).items()}
    constants = _constants(model)
    for number, node in enumerate(model.graph.node):
        target = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if target is None or is_shape_alone(target):
            continue
        lengths = np.array(numpy_helper.to_array(target))
        if lengths.size < 2 or lengths.flat[0] != 1 or (shapes.get(node.input[0]) or (0,))[0] != 1:
            continue
        lengths.flat[0] = 0
        name = f"{node.input[1]}/batch{number}"
        model.graph.initializer.append(numpy_helper.from_array(lengths, name))
        node.input[1] = name
    _set_shapes(model, larger)


def _inputs(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constants}


def _dims(value: onnx.ValueInfoProto) -> Dims:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
        for dim in value.type.tensor_type.shape.dim
    )


def _given(name: str, declared: Dims, shape: Sequence[int]) -> tuple[int, ...]:
    fits = len(declared) == len(shape) and all(
        not isinstance(known, int) or known == length
        for known, length in zip(declared, shape, strict=True)
    )
    if not fits:
        raise EstimateError(
            f"input {name!r}: the shape {list(shape)} does not fit the model's {_shown(declared)}"
        )
    return tuple(shape)


def _filled(name: str, declared: Dims, batch: int | None) -> tuple[int, ...]:
    others = [dim for dim in declared[1:] if isinstance(dim, int)]
    if len(others) < len(declared) - 1:
        example = ["224" if isinstance(dim, str | None) else str(dim) for dim in declared[1:]]
        raise EstimateError(
            f"input {name!r} has the shape {_shown(declared)}, which leaves dims open: give all of "
            f"it, like --shape {name}={','.join((str(batch or 1), *example))}"
        )
    if not declared:
        return ()
    first = declared[0]
    if not isinstance(first, int) or (first == 1 and others):
        return (batch or 1, *others)
    if others and batch not in (None, first):
        raise EstimateError(
            f"input {name!r} has the shape {_shown(declared)}: the model is for batches of {first} "
            "alone; export it with an open first dim"
        )
    return (first, *others)


def _shown(dims: Dims) -> str:
    return f"[{', '.join('?' if dim is None else str(dim) for dim in dims)}]"


def _set_shapes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Set the shapes of inputs; those of other values follow from them."""
    inputs = _inputs(model)
    for name, shape in shapes.items():
        dims = inputs[name].type.tensor_type.shape
        del dims.dim[:]
        for length in shape:
            dims.dim.add(dim_value=length)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for one in node.attribute if node.op_type == "Constant" else ():
            if one.name == "value":
                found[node.output[0]] = one.t
    return found

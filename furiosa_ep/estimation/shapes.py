"""Models with the shapes that they are estimated for: nothing is left open."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import onnx

from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.optimize.shapes import infer_shapes
from furiosa_ep.quantization.optimize.standard_form import lift_constants

Dims: TypeAlias = tuple[int | str | None, ...]
Shapes: TypeAlias = Mapping[str, Sequence[int]]

LONGEST = 2**31 - 1
"""The most that a dim of an input may be."""


class Fixed(NamedTuple):
    """The shapes that a model is estimated for."""

    batch: int
    larger: Mapping[str, tuple[int, ...]]
    """Inputs that are for one sample in the model, with the shapes for the batch."""


def is_open(model: onnx.ModelProto) -> bool:
    """Whether the shape of an input is not fixed."""
    declared = map(_dims, _inputs(model).values())
    return any(dims is None or not all(isinstance(one, int) for one in dims) for dims in declared)


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
    for name, value in inputs.items():
        if not value.type.HasField("tensor_type"):
            raise EstimateError(f"input {name!r} is no tensor")
    declared = {name: _dims(value) for name, value in inputs.items()}
    found = {
        name: _given(name, dims, shapes[name], batch)
        if name in shapes
        else _filled(name, dims, batch)
        for name, dims in declared.items()
    }
    for name, shape in found.items():
        if any(not 1 <= length <= LONGEST for length in shape):
            raise EstimateError(
                f"input {name!r}: {list(shape)} is no shape, whose dims are from 1 to {LONGEST}"
            )
    larger = {
        name: found[name]
        for name, dims in declared.items()
        if dims is not None and dims[:1] == (1,) != found[name][:1]
    }
    _set_shapes(model, {**found, **{name: (1, *shape[1:]) for name, shape in larger.items()}})
    images = (shape[0] for shape in found.values() if len(shape) > 1)
    return Fixed(batch or next(images, 1), larger)


def enlarge(model: onnx.ModelProto, larger: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """What becomes of a model for one sample, which may be changed, for a batch.

    Its inputs get the shapes `larger`. Where Reshape turns a first dim of 1 into a constant 1, it
    copies the dim instead.
    """
    lift_constants(model.graph)
    infer_shapes(model)
    graph = EditableGraph(model)
    for node in graph.nodes("Reshape"):
        lengths = graph.constant(node.input[1]) if len(node.input) > 1 else None
        if lengths is None or lengths.size < 2 or attribute(node, "allowzero", 0):
            continue
        if lengths.flat[0] == 1 == (graph.shape(node.input[0]) or (0,))[0]:
            copying = np.array([0, *lengths.flat[1:]], np.int64)
            name = graph.add_constant(copying, f"{node.output[0]}_shape")
            graph.set_inputs(node, [node.input[0], name])
    graph.remove_unread_constants()  # ONNX Runtime would warn of each
    model = graph.model()
    _set_shapes(model, larger)
    return model


def _inputs(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constants}


def _dims(value: onnx.ValueInfoProto) -> Dims | None:
    """What an input declares, names and None where dims are open; None for no shape at all."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.dim_value > 0 else dim.dim_param or None for dim in dims)


def _given(
    name: str, declared: Dims | None, shape: Sequence[int], batch: int | None
) -> tuple[int, ...]:
    fits = declared is None or (
        len(declared) == len(shape)
        and all(
            not isinstance(known, int) or known == length or (at == 0 and known == 1 and batch)
            for at, (known, length) in enumerate(zip(declared, shape, strict=True))
        )
    )
    if not fits:
        raise EstimateError(
            f"input {name!r}: the shape {list(shape)} does not fit the model's {_shown(declared)}"
        )
    if batch is not None and len(shape) > 1 and shape[0] != batch:
        raise EstimateError(
            f"input {name!r}: the shape {list(shape)} contradicts a batch of {batch}, which is the "
            "first dim"
        )
    return tuple(shape)


def _filled(name: str, declared: Dims | None, batch: int | None) -> tuple[int, ...]:
    if declared is None:
        raise EstimateError(
            f"input {name!r} has no shape: give it, like --shape {name}={batch or 1},3,224,224"
        )
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


def _shown(dims: Dims | None) -> str:
    return f"[{', '.join('?' if dim is None else str(dim) for dim in dims or ())}]"


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

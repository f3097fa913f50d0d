"""Types and shapes of all values of a model, inferred from its inputs."""

import contextlib
from typing import TypeAlias

import onnx
import onnx.shape_inference

from furiosa_ep.quantization.optimize.copies import light_copy

Dim: TypeAlias = int | str | None
"""A length, the name of a length that is open, or nothing known."""

ANY = "?"
"""What some exporters name all dims that are open, whether they are equal or not."""

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


def infer_shapes(model: onnx.ModelProto) -> None:
    """Write into the model the type and shape of all values that follow from those of the inputs.

    Shapes that are written in the model are not relied on, for they outlive changes of the inputs;
    those of operators that ONNX does not know stay. The inputs and outputs of the graph keep what
    they declare, and open dims their names; outputs that declare no shape get theirs.
    """
    light, _ = light_copy(model)
    unknown = {
        name
        for node in model.graph.node
        if node.domain not in STANDARD_DOMAINS
        for name in node.output
    }
    values = [value for value in light.graph.value_info if value.name in unknown]
    del light.graph.value_info[:]
    light.graph.value_info.extend(values)
    for output in light.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    # It fails where inputs do not fit their node: then what was known anyway remains.
    inferred = light
    with contextlib.suppress(Exception):
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    outputs = {value.name for value in model.graph.output}
    del model.graph.value_info[:]
    model.graph.value_info.extend(v for v in inferred.graph.value_info if v.name not in outputs)
    for output, found in zip(model.graph.output, inferred.graph.output, strict=True):
        if not output.type.tensor_type.HasField("shape"):
            output.CopyFrom(found)


def declared_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, tuple[Dim, ...] | None]]:
    """Element type and dims of each value but initializers; None where the rank is unknown.

    Of outputs of the graph only the rank is known: what they declare need not be true.
    """
    found: dict[str, tuple[int, tuple[Dim, ...] | None]] = {
        value.name: _type_and_dims(value) for value in (*graph.value_info, *graph.input)
    }
    for output in graph.output:
        elem_type, dims = _type_and_dims(output)
        found.setdefault(output.name, (elem_type, None if dims is None else (None,) * len(dims)))
    return found


def _type_and_dims(value: onnx.ValueInfoProto) -> tuple[int, tuple[Dim, ...] | None]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    dims: list[Dim] = []
    for dim in tensor.shape.dim:
        name = dim.dim_param if dim.dim_param != ANY else None
        dims.append(dim.dim_value if dim.HasField("dim_value") else name or None)
    return tensor.elem_type, tuple(dims)

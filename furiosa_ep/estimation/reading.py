"""Models without their weights: an estimate depends on shapes alone, and files are large."""

import itertools
import mmap
from pathlib import Path

import onnx
import onnx.external_data_helper
from onnx import numpy_helper

from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.graph.element_type import ElementType
from furiosa_ep.graph.protobuf import Message, bytes_field, fields, integer_field
from furiosa_ep.graph.protobuf import view as bytes_of
from furiosa_ep.graph.tensor import Tensor
from furiosa_ep.quantization.loading import ModelLike
from furiosa_ep.quantization.optimize.copies import (
    copy_without,
    elements_of,
    is_small,
    shape_alone,
)

_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _ATTRIBUTE_TENSOR = 2, 4, 5, 5
"""Fields of ModelProto, GraphProto, NodeProto and AttributeProto."""
_LARGE_NODE = 1 << 16
"""Bytes that a node exceeds only where it holds weights."""
_FLOATS = frozenset(
    {ElementType.FLOAT, ElementType.FLOAT16, ElementType.BFLOAT16, ElementType.DOUBLE}
)


def read_light(source: ModelLike) -> onnx.ModelProto:
    """The model, of whose large float initializers only the shape is read (`shape_alone`).

    Small and integer ones that lie in files beside the model are read from there. It is a copy.

    Raises:
        EstimateError: where there is no ONNX model, and where a file is missing that decides
            shapes.
    """
    folder: Path | None = None
    if isinstance(source, onnx.ModelProto):
        model = copy_without(source, "initializer")
        model.graph.initializer.extend(
            shape_alone(one.name, one.data_type, one.dims)
            if _is_weight(one.data_type, tuple(one.dims))
            else one
            for one in source.graph.initializer
        )
    else:
        try:
            if isinstance(source, bytes):
                light = _without_weights(source)
            else:
                folder = Path(source).parent
                light = _read_file(Path(source))
            model = onnx.ModelProto.FromString(light)
        except OSError as error:
            raise EstimateError(f"cannot be read: {error.strerror or error}") from error
        except Exception as error:  # protobuf raises different classes from version to version
            raise EstimateError("not an ONNX model") from error
    if not model.graph.node:
        raise EstimateError("not an ONNX model, or one without any node")
    if not model.graph.output:
        raise EstimateError("the model has no outputs")
    _check_names(model.graph)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _read_external(tensor, folder)
    return model


def _check_names(graph: onnx.GraphProto) -> None:
    """Protobuf gives bytes where a string is no UTF-8."""
    names = (value.name for value in (*graph.input, *graph.output, *graph.initializer))
    of_nodes = (
        name
        for node in graph.node
        for name in (node.name, node.op_type, node.domain, *node.input, *node.output)
    )
    for name in itertools.chain(names, of_nodes):
        if isinstance(name, bytes):
            raise EstimateError(f"not an ONNX model: the name {name!r} is not in UTF-8")


def _read_file(path: Path) -> bytes:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as message,
    ):
        return _without_weights(message)


def _without_weights(message: Message) -> bytes:
    """A serialized ModelProto with weights as shapes alone."""
    parts = []
    for at, value in fields(message):
        if at == _GRAPH:
            parts.append(bytes_field(at, b"".join(map(_light_part, fields(bytes_of(value))))))
        else:
            parts.append(_field(at, value))
    return b"".join(parts)


def _light_part(field: tuple[int, int | memoryview]) -> bytes:
    """A field of a GraphProto."""
    at, value = field
    tensor: Tensor | None = None
    name = ""
    if at == _INITIALIZER:
        tensor = Tensor.read(bytes_of(value))
        name = tensor.name
    elif at == _NODE and len(bytes_of(value)) > _LARGE_NODE:
        name, tensor = _constant(bytes_of(value))
    if tensor is None or not _is_weight(tensor.dtype, tensor.dims):
        return _field(at, value)
    return bytes_field(
        _INITIALIZER, shape_alone(name, tensor.dtype, tensor.dims).SerializeToString()
    )


def _constant(node: memoryview) -> tuple[str, Tensor | None]:
    """The output and the tensor of a Constant node; None of another one."""
    output, is_constant, tensor = "", False, None
    for at, value in fields(node):
        if at == _NODE_OUTPUT:
            output = str(bytes_of(value), "utf-8")
        elif at == _OP_TYPE:
            is_constant = bytes(bytes_of(value)) == b"Constant"
        elif at == _ATTRIBUTE:
            for inner, one in fields(bytes_of(value)):
                if inner == _ATTRIBUTE_TENSOR:
                    tensor = Tensor.read(bytes_of(one))
    return output, tensor if is_constant else None


def _field(at: int, value: int | memoryview) -> bytes:
    return integer_field(at, value) if isinstance(value, int) else bytes_field(at, value)


def _is_weight(dtype: int, dims: tuple[int, ...]) -> bool:
    return dtype in _FLOATS and not is_small(onnx.TensorProto(dims=dims))


def _read_external(tensor: onnx.TensorProto, folder: Path | None) -> None:
    """Take the elements of a tensor from the file that it names."""
    place = {one.key: one.value for one in tensor.external_data}.get("location")
    try:
        if folder is None:
            raise FileNotFoundError("the model is no file, beside which it could lie")
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
    except Exception as error:  # the checker's ValidationError, OSError, ValueError
        if tensor.data_type not in _FLOATS:
            raise EstimateError(
                f"the elements of {tensor.name!r}, on which shapes may depend, are in the file "
                f"{place!r}, which cannot be read: {error}"
            ) from error
        known = shape_alone(tensor.name, tensor.data_type, tensor.dims)
        tensor.CopyFrom(numpy_helper.from_array(elements_of(known), tensor.name))
        return
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]

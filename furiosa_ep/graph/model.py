"""The parts of a serialized ModelProto, by the field numbers of onnx.proto."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph.node import Node, TensorType
from furiosa_ep.graph.protobuf import Message, fields, integers, number, text, view
from furiosa_ep.graph.tensor import Tensor

_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 6, 7, 8
"""Of AttributeProto.AttributeType."""
_VALUE_FIELDS = {_FLOAT: 2, _INT: 3, _STRING: 4, _TENSOR: 5, _FLOATS: 7, _INTS: 8, _STRINGS: 9}
"""Where an AttributeProto of each type has its value."""
_SHORT = 64
"""Bytes that an AttributeProto with a number does not exceed."""


@dataclass
class Model:
    """What a ModelProto says."""

    nodes: list[Node] = field(default_factory=list)
    """Without those of type Constant."""
    inputs: list[str] = field(default_factory=list)
    outputs: tuple[str, ...] = ()
    types: dict[str, TensorType] = field(default_factory=dict)
    tensors: dict[str, Tensor | npt.NDArray[Any]] = field(default_factory=dict)
    """The constants."""
    opsets: dict[str, int] = field(default_factory=dict)


def read_model(message: Message) -> Model:
    """The parts of a ModelProto.

    Raises:
        ProtobufError: where the bytes are no protobuf message.
    """
    model = Model()
    graph: Message = b""
    for at, value in fields(message):
        if at == 7:
            graph = view(value)
        elif at == 8:
            domain, version = "", 0
            for key, one in fields(view(value)):
                if key == 1:
                    domain = _domain(text(one))
                elif key == 2:
                    version = number(one)
            model.opsets[domain] = version
    _read_graph(graph, model)
    return model


def _read_graph(message: Message, model: Model) -> None:
    outputs = []
    position = 0
    for at, value in fields(message):
        if at == 1:
            node = _node(position, view(value), model.opsets)
            position += 1
            if node.op_type == "Constant" and not node.domain:
                model.tensors[node.outputs[0]] = _constant(node)
            else:
                model.nodes.append(node)
        elif at == 5:
            tensor = Tensor.read(view(value))
            model.tensors[tensor.name] = tensor
        elif at in (11, 12, 13):
            name, known = _value_info(view(value))
            if known is not None:
                model.types[name] = known
            if at == 11:
                model.inputs.append(name)
            elif at == 12:
                outputs.append(name)
    model.outputs = tuple(outputs)
    for name, constant in model.tensors.items():
        if isinstance(constant, Tensor):
            model.types[name] = TensorType(constant.dtype, constant.dims)


def _node(index: int, message: memoryview, opsets: Mapping[str, int]) -> Node:
    inputs, outputs = [], []
    name = op_type = domain = ""
    attributes: dict[str, Any] = {}
    captured: frozenset[str] | None = None
    for at, value in fields(message):
        if at == 1:
            inputs.append(text(value))
        elif at == 2:
            outputs.append(text(value))
        elif at == 3:
            name = text(value)
        elif at == 4:
            op_type = text(value)
        elif at == 5:
            one = view(value)
            plain = _number(bytes(one)) if len(one) <= _SHORT else None
            key, attribute, graphs = plain or _attribute(one)
            attributes[key] = attribute
            for graph in graphs:
                captured = (captured or frozenset()) | _captured(graph)
        elif at == 7:
            domain = _domain(text(value))
    return Node(
        index=index,
        name=name,
        op_type=op_type,
        domain=domain,
        opset=opsets.get(domain, 1),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        attributes=attributes,
        captured=captured,
        message=message,
    )


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


@lru_cache(maxsize=1024)
def _number(message: bytes) -> tuple[str, int | float, tuple[()]] | None:
    """As `_attribute` where the value is a number, otherwise None; few differ in a model."""
    name, value, _ = _attribute(memoryview(message))
    return (name, value, ()) if isinstance(value, int | float) else None


def _attribute(message: memoryview) -> tuple[str, Any, Sequence[memoryview]]:
    """Name and value of an AttributeProto, and the graphs that it holds."""
    name, kind = "", 0
    found: dict[int, list[int | memoryview]] = {}
    for at, value in fields(message):
        if at == 1:
            name = text(value)
        elif at == 20:
            kind = number(value)
        else:
            found.setdefault(at, []).append(value)
    graphs = [view(one) for at in (6, 11) for one in found.get(at, ())]
    values = found.get(_VALUE_FIELDS.get(kind, 0), [])
    return name, _attribute_value(kind, values, message), graphs


def _attribute_value(kind: int, values: list[int | memoryview], message: memoryview) -> Any:
    if kind == _INT:
        return number(values[-1]) if values else 0
    if kind == _INTS:
        return [one for value in values for one in integers(value)]
    if kind == _FLOAT:
        return struct.unpack("<f", view(values[-1]))[0] if values else 0.0
    if kind == _FLOATS:
        return [one for value in values for (one,) in struct.iter_unpack("<f", view(value))]
    if kind == _STRING:
        return str(view(values[-1]), "utf-8", "replace") if values else ""
    if kind == _STRINGS:
        return [str(view(one), "utf-8", "replace") for one in values]
    if kind == _TENSOR:
        return Tensor.read(view(values[-1]) if values else b"").array()
    return bytes(message)


def _constant(node: Node) -> Tensor | npt.NDArray[Any]:
    (key, value), *_ = node.attributes.items()
    if key.startswith("value_float"):
        return np.asarray(value, np.float32)
    if key.startswith("value_int"):
        return np.asarray(value, np.int64)
    return np.array(value)


def _value_info(message: memoryview) -> tuple[str, TensorType | None]:
    """The name of a value, and its type if it is a tensor."""
    name, known = "", None
    for at, value in fields(message):
        if at == 1:
            name = text(value)
        elif at == 2:
            for kind, one in fields(view(value)):
                if kind == 1:
                    known = _tensor_type(bytes(view(one)))
    return name, known


@lru_cache(maxsize=1024)
def _tensor_type(message: bytes) -> TensorType:
    """A TypeProto.Tensor; few differ in a model."""
    dtype, shape = 0, None
    for at, value in fields(message):
        if at == 1:
            dtype = number(value)
        elif at == 2:
            shape = tuple(_dim(view(one)) for dim, one in fields(view(value)) if dim == 1)
    return TensorType(dtype, shape)


def _dim(message: memoryview) -> int | str | None:
    size: int | str | None = None
    for at, value in fields(message):
        if at == 1:
            size = number(value)
        elif at == 2:
            size = text(value) or None
    return size


def _captured(graph: Message) -> frozenset[str]:
    """The names that a subgraph reads and does not define."""
    names: set[str] = set()
    defined: set[str] = set()
    nodes, outputs = [], []
    for at, value in fields(graph):
        if at == 1:
            nodes.append(view(value))
        elif at == 5:
            defined.add(Tensor.read(view(value)).name)
        elif at in (11, 12):
            name = _value_info(view(value))[0]
            if at == 11:
                defined.add(name)
            else:
                outputs.append(name)
    for message in nodes:
        node = _node(0, message, {})
        names |= {*node.inputs, *(node.captured or ())} - defined
        defined |= {*node.outputs}
    return frozenset(names.union(set(outputs) - defined))

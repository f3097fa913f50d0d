"""The ONNX graph as the partitioner and the compiler read it."""

import ctypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from furiosa_ep.graph.node import Node, TensorType
from furiosa_ep.graph.ranks import complete_ranks

MEMORY_LOCATION = "@mem"
"""The external-data location of an initializer that lies in this process; offset is its address."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A main graph: nodes in topological order, values by name, constants as arrays on demand."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    """Names of the inputs that are no initializers."""
    outputs: tuple[str, ...]
    types: Mapping[str, TensorType]
    opsets: Mapping[str, int]
    _tensors: Mapping[str, onnx.TensorProto]
    _producers: Mapping[str, Node]
    _consumers: Mapping[str, tuple[Node, ...]]
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, model: bytes) -> "Graph":
        """The graph of a serialized ModelProto."""
        return cls.from_model(onnx.load_model_from_string(model))

    @classmethod
    def from_model(cls, model: onnx.ModelProto) -> "Graph":
        """The graph of `model`; Constant nodes count as initializers, not as nodes."""
        opsets = {
            ("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import
        }
        proto = model.graph
        tensors = {tensor.name: tensor for tensor in proto.initializer}
        nodes = []
        for index, node in enumerate(proto.node):
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                tensors[node.output[0]] = _constant_tensor(node)
                continue
            nodes.append(_node(index, node, opsets))
        types = {
            info.name: _tensor_type(info.type)
            for info in (*proto.input, *proto.output, *proto.value_info)
            if info.type.HasField("tensor_type")
        }
        for name, tensor in tensors.items():
            types[name] = TensorType(tensor.data_type, tuple(tensor.dims))
        producers = {name: node for node in nodes for name in node.outputs if name}
        inputs = tuple(info.name for info in proto.input if info.name not in tensors)
        ordered = tuple(_topological(nodes, producers))
        consumers: dict[str, list[Node]] = {}
        for one in ordered:
            for name in (*one.inputs, *_captured(one.proto)):
                if name:
                    consumers.setdefault(name, []).append(one)
        graph = cls(
            nodes=ordered,
            inputs=inputs,
            outputs=tuple(info.name for info in proto.output),
            types=types,
            opsets=opsets,
            _tensors=tensors,
            _producers=producers,
            _consumers={name: tuple(users) for name, users in consumers.items()},
        )
        complete_ranks(ordered, types, graph.constant)
        return graph

    def producer(self, name: str) -> Node | None:
        """The node that computes a value; None for inputs and constants."""
        return self._producers.get(name)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a value (a node once per use), those of subgraphs by their owner."""
        return self._consumers.get(name, ())

    def is_constant(self, name: str) -> bool:
        """Whether a value is an initializer or the output of a Constant node."""
        return name in self._tensors

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """The array of a constant, or None where `name` is none.

        It is read-only, and may be a view of memory that ends with the building of the session.
        """
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        if name not in self._arrays:
            array = tensor_to_array(tensor)
            array.flags.writeable = False
            self._arrays[name] = array
        return self._arrays[name]

    def keep_constants(self) -> None:
        """Copy the constants that lie in memory of others, so that the graph may outlive it."""
        for name, tensor in self._tensors.items():
            if tensor.external_data:
                array = tensor_to_array(tensor).copy()
                array.flags.writeable = False
                self._arrays[name] = array

    def dtype(self, name: str) -> int | None:
        """The element type of a value as in onnx.TensorProto, None where it is unknown."""
        known = self.types.get(name)
        return None if known is None else known.dtype

    def shape(self, name: str) -> tuple[int | str | None, ...] | None:
        """The dims of a value as far as they are known; None where not even the rank is."""
        known = self.types.get(name)
        return None if known is None else known.shape


def tensor_to_array(tensor: onnx.TensorProto) -> npt.NDArray[Any]:
    """The array of a TensorProto, without a copy where its data lies in this process."""
    external = {entry.key: entry.value for entry in tensor.external_data}
    if external.get("location") != MEMORY_LOCATION:
        return np.array(numpy_helper.to_array(tensor))
    dtype: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = int(np.prod(tensor.dims, dtype=np.int64))
    if count == 0:
        return np.zeros(tuple(tensor.dims), dtype)
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(int(external["offset"]))
    return np.frombuffer(memoryview(memory), dtype, count).reshape(tuple(tensor.dims))


def _constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return value
    return numpy_helper.from_array(np.asarray(value), node.output[0])


def _node(index: int, proto: onnx.NodeProto, opsets: Mapping[str, int]) -> Node:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    return Node(
        index=index,
        name=proto.name,
        op_type=proto.op_type,
        domain=domain,
        opset=opsets.get(domain, 1),
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes={attribute.name: _attribute(attribute) for attribute in proto.attribute},
        proto=proto,
    )


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return tensor_to_array(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [one.decode("utf-8", "replace") for one in value]
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else value


def _tensor_type(type_proto: onnx.TypeProto) -> TensorType:
    tensor = type_proto.tensor_type
    if not tensor.HasField("shape"):
        return TensorType(tensor.elem_type, None)
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in tensor.shape.dim
    )
    return TensorType(tensor.elem_type, dims)


def _captured(proto: onnx.NodeProto) -> set[str]:
    """The names that the subgraphs of a node read and do not define."""
    names: set[str] = set()
    for attribute in proto.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            defined = {info.name for info in graph.input} | {t.name for t in graph.initializer}
            for node in graph.node:
                names |= ({*node.input} | _captured(node)) - defined
                defined |= {*node.output}
            names |= {info.name for info in graph.output} - defined
    return names


def _topological(nodes: Iterable[Node], producers: Mapping[str, Node]) -> Iterable[Node]:
    """The nodes with every producer before its consumers, otherwise in their own order."""
    done: set[int] = set()
    for root in nodes:
        stack = [root]
        while stack:
            node = stack[-1]
            if node.index in done:
                stack.pop()
                continue
            waiting = [
                producers[name]
                for name in (*node.inputs, *_captured(node.proto))
                if name in producers and producers[name].index not in done
            ]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            done.add(node.index)
            stack.pop()
            yield node

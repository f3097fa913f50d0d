"""The ONNX graph as the partitioner and the compiler read it."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from furiosa_ep.graph.model import read_model
from furiosa_ep.graph.node import Node, TensorType
from furiosa_ep.graph.protobuf import Message
from furiosa_ep.graph.ranks import complete_ranks
from furiosa_ep.graph.tensor import Tensor

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Graph:
    """A main graph: nodes in topological order, values by name, constants as arrays on demand."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    """Names of the inputs that are no initializers."""
    outputs: tuple[str, ...]
    types: Mapping[str, TensorType]
    opsets: Mapping[str, int]
    _tensors: Mapping[str, Tensor | npt.NDArray[Any]]
    _producers: Mapping[str, Node]
    _consumers: Mapping[str, tuple[Node, ...]]
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, model: Message) -> "Graph":
        """The graph of a serialized ModelProto; Constant nodes count as initializers.

        Raises:
            ProtobufError: where the bytes are no protobuf message.
        """
        found = read_model(model)
        producers = {name: node for node in found.nodes for name in node.outputs if name}
        ordered = tuple(_topological(found.nodes, producers))
        consumers: dict[str, list[Node]] = {}
        for one in ordered:
            for name in (*one.inputs, *(one.captured or ())):
                if name:
                    consumers.setdefault(name, []).append(one)
        graph = cls(
            nodes=ordered,
            inputs=tuple(name for name in found.inputs if name not in found.tensors),
            outputs=found.outputs,
            types=found.types,
            opsets=found.opsets,
            _tensors=found.tensors,
            _producers=producers,
            _consumers={name: tuple(users) for name, users in consumers.items()},
        )
        complete_ranks(ordered, found.types, graph.constant)
        return graph

    @classmethod
    def from_model(cls, model: "onnx.ModelProto") -> "Graph":
        """The graph of `model`, which it shares nothing with."""
        return cls.from_bytes(model.SerializeToString())

    def part(self, indices: Collection[int]) -> "Graph":
        """The graph of the nodes with these indices alone, which shares the constants.

        Its inputs are what they read of others, its outputs what others read of them or the graph
        gives, both in the order in which they come up.
        """
        nodes = tuple(node for node in self.nodes if node.index in indices)
        produced = {name: node for node in nodes for name in node.outputs if name}
        read: dict[str, list[Node]] = {}
        for node in nodes:
            for name in (*node.inputs, *(node.captured or ())):
                if name:
                    read.setdefault(name, []).append(node)
        return dataclasses.replace(
            self,
            nodes=nodes,
            inputs=tuple(n for n in read if n not in produced and n not in self._tensors),
            outputs=tuple(
                name
                for name in produced
                if name in self.outputs
                or any(one.index not in indices for one in self.consumers(name))
            ),
            _producers=produced,
            _consumers={name: tuple(users) for name, users in read.items()},
        )

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
            array = tensor.array() if isinstance(tensor, Tensor) else tensor
            array.flags.writeable = False
            self._arrays[name] = array
        return self._arrays[name]

    def keep_constants(self) -> None:
        """Copy the constants that lie in memory of others, so that the graph may outlive it."""
        for name, tensor in self._tensors.items():
            if isinstance(tensor, Tensor) and tensor.external:
                array = tensor.array().copy()
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
                for name in (*node.inputs, *(node.captured or ()))
                if name in producers and producers[name].index not in done
            ]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            done.add(node.index)
            stack.pop()
            yield node

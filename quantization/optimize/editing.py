"""A graph while it is rewritten: who computes a value, who reads it, what is constant."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import onnx
from onnx import helper, numpy_helper

from furiosa_ep.quantization.optimize.copies import copied, copy_without, elements_of
from furiosa_ep.quantization.optimize.shapes import Dim, declared_shapes
from furiosa_ep.quantization.samples import Array


class EditableGraph:
    """The main graph of a model, as a copy that can be changed; subgraphs are only looked at.

    Values that a subgraph reads, and the outputs of the graph, are never renamed or removed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._source = model
        self._nodes = [copied(node) for node in model.graph.node]
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._arrays: dict[str, Array] = {}
        self._outputs = frozenset(value.name for value in model.graph.output)
        self._kept = self._outputs.union(*(names_within(node) for node in self._nodes))
        self._names = {*(value.name for value in model.graph.input), *self._tensors, *self._kept}
        self._producers: dict[str, onnx.NodeProto] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        self._alive: set[int] = set()
        for node in self._nodes:
            self._link(node)
        self._changed = False
        self._values: dict[str, tuple[int, tuple[Dim, ...] | None]] | None = None

    def nodes(self, *op_types: str) -> Iterator[onnx.NodeProto]:
        """The nodes of these operators of ONNX (all nodes without any), in topological order.

        The graph may be changed meanwhile: nodes that are gone are left out.
        """
        for node in tuple(self._nodes):
            wanted = not op_types or (node.op_type in op_types and not node.domain)
            if wanted and id(node) in self._alive:
                yield node

    def constant(self, name: str) -> Array | None:
        """The value of an initializer, or None."""
        if name not in self._tensors:
            return None
        if name not in self._arrays:
            self._arrays[name] = elements_of(self._tensors[name])
        return self._arrays[name]

    def producer(self, name: str, *op_types: str) -> onnx.NodeProto | None:
        """The node that computes a value, if it is one of these operators of ONNX."""
        node = self._producers.get(name)
        if node is None or (op_types and (node.domain or node.op_type not in op_types)):
            return None
        return node

    def readers(self, name: str) -> Sequence[onnx.NodeProto]:
        """The nodes that read a value, once for each input that does."""
        return self._readers.get(name, ())

    def sole_reader(self, name: str) -> onnx.NodeProto | None:
        """The node that reads a value once, where nothing else does."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self._kept else None

    def is_constant(self, name: str) -> bool:
        """Whether a value is an initializer."""
        return name in self._tensors

    def is_output(self, name: str) -> bool:
        """Whether a value is an output of the graph."""
        return name in self._outputs

    def is_kept(self, name: str) -> bool:
        """Whether a value is an output of the graph, or a subgraph reads it."""
        return name in self._kept

    def is_used(self, name: str) -> bool:
        """Whether anything reads a value."""
        return bool(name) and (name in self._kept or bool(self.readers(name)))

    def dtype(self, name: str) -> int:
        """The element type of a value; 0 where it is unknown."""
        return self._value(name)[0]

    def shape(self, name: str) -> tuple[Dim, ...] | None:
        """The dims of a value, ints or names or None; None where the rank is unknown."""
        return self._value(name)[1]

    def rank(self, name: str) -> int | None:
        """The rank of a value, where it is known."""
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def opset(self) -> int:
        """The version of ONNX's operators."""
        return int(next(one.version for one in self._source.opset_import if not one.domain))

    def add_constant(self, array: Array, name: str) -> str:
        """Add an initializer called `name`, or the like where that is taken; its name."""
        free = self.free_name(name)
        self._set(free, array)
        return free

    def revise(self, name: str, array: Array) -> str:
        """Give an initializer another value for the one node that is about to be replaced.

        The initializer keeps its name, unless something else needs its old value.
        """
        if self.sole_reader(name) is not None:
            self._set(name, array)
            return name
        return self.add_constant(array, name)

    def free_name(self, name: str) -> str:
        """The name, or the like where a value or node has that already."""
        return free_name(name, self._names)

    def remove(self, node: onnx.NodeProto) -> None:
        """Remove a node that nothing depends on any more."""
        self._unlink(node)
        self._nodes = [one for one in self._nodes if one is not node]
        self._changed = True

    def replace(self, nodes: Iterable[onnx.NodeProto], *others: onnx.NodeProto) -> None:
        """Put `others` into the place of `nodes`, the last of which comes last in the graph."""
        old = list(nodes)
        for node in old:
            self._unlink(node)
        gone = {id(node) for node in old}
        place = next(i for i, node in enumerate(self._nodes) if node is old[-1])
        before, behind = self._nodes[:place], self._nodes[place + 1 :]
        self._nodes = [
            *(node for node in before if id(node) not in gone),
            *others,
            *(node for node in behind if id(node) not in gone),
        ]
        for node in others:
            self._link(node)
        self._changed = True

    def make_constants(self, node: onnx.NodeProto, outputs: Mapping[str, Array]) -> None:
        """Put initializers into the place of a node, of which nothing reads other outputs."""
        self.remove(node)
        for name, array in outputs.items():
            self._set(name, array)

    def remove_unread_constants(self) -> None:
        """Remove the initializers that nothing reads."""
        if not all(self.is_used(name) for name in self._tensors):
            self._tensors = {n: t for n, t in self._tensors.items() if self.is_used(n)}
            self._changed = True

    def set_inputs(self, node: onnx.NodeProto, names: Sequence[str]) -> None:
        """Let a node read other values."""
        self._unlink(node)
        node.input[:] = names
        self._link(node)
        self._changed = True

    def set_outputs(self, node: onnx.NodeProto, names: Sequence[str]) -> None:
        """Give other outputs to a node."""
        self._unlink(node)
        node.output[:] = names
        self._link(node)
        self._changed = True

    def bypass(self, node: onnx.NodeProto, source: str) -> bool:
        """Remove a node whose first output equals the value `source`, if names allow it."""
        name = node.output[0]
        if name in self._kept:
            producer = self._producers.get(source)
            if producer is None or source in self._kept:
                return False  # two values that must keep their names
            self.remove(node)
            self._rename_input(source, name)
            self.set_outputs(producer, [name if one == source else one for one in producer.output])
        else:
            self.remove(node)
            self._rename_input(name, source)
        return True

    def model(self) -> onnx.ModelProto:
        """The model with the graph as it is now; the very model where nothing was changed."""
        if not self._changed:
            return self._source
        model = copy_without(self._source, "node", "initializer", "value_info")
        source, graph = self._source.graph, model.graph
        graph.node.extend(self._nodes)
        graph.initializer.extend(one for name, one in self._tensors.items() if self.is_used(name))
        graph.value_info.extend(one for one in source.value_info if one.name in self._producers)
        return model

    def _rename_input(self, old: str, new: str) -> None:
        for reader in {id(one): one for one in self.readers(old)}.values():
            self.set_inputs(reader, [new if name == old else name for name in reader.input])

    def _value(self, name: str) -> tuple[int, tuple[Dim, ...] | None]:
        if name in self._tensors:
            tensor = self._tensors[name]
            return tensor.data_type, tuple(tensor.dims)
        if self._values is None:
            self._values = declared_shapes(self._source.graph)
        return self._values.get(name, (0, None))

    def _set(self, name: str, array: Array) -> None:
        self._tensors[name] = numpy_helper.from_array(array, name)
        self._arrays[name] = array

    def _link(self, node: onnx.NodeProto) -> None:
        self._alive.add(id(node))
        for name in filter(None, node.input):
            self._readers.setdefault(name, []).append(node)
        for name in filter(None, node.output):
            self._producers[name] = node
        self._names.update((node.name, *node.input, *node.output))

    def _unlink(self, node: onnx.NodeProto) -> None:
        self._alive.discard(id(node))
        for name in set(filter(None, node.input)):
            readers = self._readers[name]
            readers[:] = [one for one in readers if one is not node]
            if not readers:
                del self._readers[name]
        for name in filter(None, node.output):
            self._producers.pop(name, None)


def free_name(name: str, used: set[str]) -> str:
    """The name, or the like where that is used already; it joins the used ones."""
    free, number = name, 1
    while free in used:
        free, number = f"{name}_{number}", number + 1
    used.add(free)
    return free


def add_outputs(graph: onnx.GraphProto, names: Iterable[str]) -> None:
    """Make outputs of these values, as far as they are none."""
    present = {value.name for value in graph.output}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute, or the default."""
    for one in node.attribute:
        if one.name == name:
            return helper.get_attribute_value(one)
    return default


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs among the attributes of a node, not those within these."""
    for one in node.attribute:
        if one.type == onnx.AttributeProto.GRAPH:
            yield one.g
        yield from one.graphs


def names_within(node: onnx.NodeProto) -> Iterator[str]:
    """The values that the subgraphs of a node name: what they read, and their own."""
    for graph in subgraphs(node):
        yield from (one.name for one in (*graph.input, *graph.output, *graph.initializer))
        for inner in graph.node:
            yield from filter(None, (*inner.input, *inner.output))
            yield from names_within(inner)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of all graphs within it."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)

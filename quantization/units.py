"""Find what of a model is quantized: all that the NPU takes, in units as large as it takes them."""

from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass

import onnx

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.partition import partition_graph
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.report import Report
from furiosa_ep.partitioner.support import Decline, DeclineCode
from furiosa_ep.partitioner.units import ELEMENTWISE
from furiosa_ep.quantization.made_up import MadeUp, made_up
from furiosa_ep.quantization.optimize.clips import limits_of
from furiosa_ep.quantization.optimize.editing import EditableGraph
from furiosa_ep.quantization.prepare import QDQ, QUANTIZED_OPS
from furiosa_ep.quantization.scheme import MOVEMENT, Scheme, Unit


@dataclass(frozen=True)
class Trial:
    """A scheme, and what the partitioner makes of the model that is quantized by it."""

    scheme: Scheme
    graph: Graph
    """Of the model with numbers that mean nothing."""
    report: Report
    model: MadeUp
    """Keeps the constants of the graph."""


def find_scheme(model: onnx.ModelProto, quantized: Collection[str] = ()) -> Scheme:
    """The scheme that quantizes all nodes of an optimised model that the NPU then takes.

    The `quantized` values become 8-bit in any case, be they in front of a Relu or within a chain.

    The partitioner is asked: what it declines of the quantized model is left in float. A chain that
    it declines is tried again as single operators. Where nothing at all is worth the way to the
    NPU, what it could take is quantized nevertheless.
    """
    return find_trial(model, quantized).scheme


def find_trial(model: onnx.ModelProto, quantized: Collection[str] = ()) -> Trial:
    """As `find_scheme`, with the model that the partitioner was asked about last."""
    chosen, apart = _candidates(model), set[int]()
    in_float: dict[int, str] = {}
    while True:
        scheme = Scheme(model, tuple(_Finder(model, chosen, apart, quantized).units()), in_float)
        trial = _trial(scheme)
        declined = _declined(trial)
        too_small = len(declined) == len(scheme.units) and all(
            decline.code == DeclineCode.COST for decline in declined.values()
        )
        if not declined or too_small:
            return trial
        for unit, decline in declined.items():
            if len(unit.nodes) > 1:
                apart.update(unit.nodes)
            else:
                chosen.difference_update(unit.positions)
                reason = f"{decline.code}: {decline.reason}"
                in_float.update(dict.fromkeys(unit.positions, reason))


def _trial(scheme: Scheme) -> Trial:
    """Numbers make no difference to what the NPU takes."""
    model = made_up(scheme)
    graph = Graph.from_bytes(model.model.SerializeToString())
    return Trial(scheme, graph, partition_graph(graph, registry()), model)


def _declined(trial: Trial) -> dict[Unit, Decline]:
    """The units that the NPU does not take, and why."""
    scheme = trial.scheme
    clips = {unit.clip for unit in scheme.units}
    left = (p for p, node in enumerate(scheme.model.graph.node) if p not in clips and _is_own(node))
    added = (index for index, node in enumerate(trial.model.model.graph.node) if _is_own(node))
    position_of = dict(zip(added, left, strict=True))
    unit_of = {position: unit for unit in scheme.units for position in unit.nodes}
    return {
        unit_of[position]: row.decline
        for row in trial.report.units
        if row.decline is not None
        for node in row.nodes
        if (position := position_of.get(node.index)) in unit_of
    }


def _is_own(node: onnx.NodeProto) -> bool:
    """Whether a node is none of those that quantization adds."""
    return node.op_type not in QDQ


def _candidates(model: onnx.ModelProto) -> set[int]:
    """The nodes that may be quantized: operators on float32 that the NPU knows."""
    graph, known = EditableGraph(model), registry().operators.keys()
    return {
        position
        for position, node in enumerate(graph.nodes())
        if (node.domain, node.op_type) in known
        and node.op_type not in QDQ | QUANTIZED_OPS
        and _data(node, graph)
        and all(graph.dtype(name) == onnx.TensorProto.FLOAT for name in filter(None, node.output))
    }


def _data(node: onnx.NodeProto, graph: EditableGraph) -> tuple[str, ...]:
    """The float32 inputs of a node that are no constants, each once."""
    return tuple(
        name
        for name in dict.fromkeys(node.input[: MOVEMENT.get(node.op_type)])
        if name and not graph.is_constant(name) and graph.dtype(name) == onnx.TensorProto.FLOAT
    )


class _Finder:
    """Makes units of nodes."""

    def __init__(
        self,
        model: onnx.ModelProto,
        chosen: Set[int],
        apart: Set[int],
        quantized: Collection[str],
    ) -> None:
        self._quantized = quantized
        self._graph = graph = EditableGraph(model)
        self._nodes = list(graph.nodes())
        self._positions = {id(node): position for position, node in enumerate(self._nodes)}
        self._chosen = chosen
        self._chained = {
            position
            for position in chosen - apart
            if self._nodes[position].op_type in ELEMENTWISE and not self._nodes[position].domain
        }
        self._clips = {
            producer: position
            for position in chosen
            if (producer := self._clipped(position)) is not None
        }
        """By producer the Relu or Clip behind it that the range of its result replaces."""
        self._chained -= {*self._clips, *self._clips.values()}
        self._roots, self._inner = self._functions()

    def units(self) -> Iterator[Unit]:
        """The units, in the order of their first nodes."""
        left_out = set(self._clips.values())
        for position in sorted(self._chosen):
            if position in left_out:
                continue
            chain = self._chain(position)
            left_out.update(chain)
            outputs = (name for one in chain for name in self._nodes[one].output)
            writes = tuple(name for name in outputs if name and name not in self._inner)
            reads = _data(self._nodes[position], self._graph)
            if len(chain) > 1:
                reads = (self._roots[self._nodes[position].output[0]],)
            clip = self._clips.get(position)
            if clip is not None:
                writes = (self._nodes[clip].output[0],)
            yield Unit(tuple(chain), reads, writes, clip)

    def _clipped(self, position: int) -> int | None:
        """The operator whose result a Relu or Clip alone reads, if its range can do the same."""
        node = self._nodes[position]
        found = limits_of(self._graph, node) if node.op_type in ("Relu", "Clip") else None
        if found is None or not found[1].low <= 0 <= found[1].high:
            return None
        producer = self._graph.producer(found[0])
        if producer is None or found[0] in self._quantized:
            return None
        if self._graph.sole_reader(found[0]) is not node:
            return None
        before = self._positions[id(producer)]
        is_function = before in self._chained and len(_data(producer, self._graph)) == 1
        if before not in self._chosen or producer.op_type in MOVEMENT or is_function:
            return None
        return before if producer.op_type not in ("Relu", "Clip") else None

    def _functions(self) -> tuple[dict[str, str], set[str]]:
        """For results of elementwise operators the one 8-bit value that they are functions of.

        And which of them are inner values of a chain: nothing but functions of the same value reads
        them.
        """
        ends = set(self._quantized)
        while True:
            roots: dict[str, str] = {}
            for position in sorted(self._chained):
                node = self._nodes[position]
                read = _data(node, self._graph)
                sources = {name if name in ends else roots.get(name, name) for name in read}
                if len(sources) == 1:
                    roots[node.output[0]] = sources.pop()
            inner = {name for name in roots if name not in ends and self._is_inner(name, roots)}
            if roots.keys() == inner | (ends & roots.keys()):
                return roots, inner
            ends |= roots.keys() - inner

    def _is_inner(self, name: str, roots: dict[str, str]) -> bool:
        return not self._graph.is_kept(name) and all(
            roots.get(reader.output[0]) == roots[name] for reader in self._graph.readers(name)
        )

    def _chain(self, position: int) -> list[int]:
        """The nodes that inner values join with one, ascending."""
        found = {position}
        left = [position]
        while left:
            node = self._nodes[left.pop()]
            producers = (self._graph.producer(n) for n in node.input if n in self._inner)
            readers = (r for n in node.output if n in self._inner for r in self._graph.readers(n))
            for other in (*producers, *readers):
                one = self._positions[id(other)]
                if one not in found:
                    found.add(one)
                    left.append(one)
        return sorted(found)

"""From the ONNX graph of a partition to the device graph, for concrete input shapes."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from furiosa_ep.compiler.builder import GraphBuilder
from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.compiler.folding import fold, fold_shape
from furiosa_ep.compiler.verify import verify
from furiosa_ep.graph import DeviceGraph, Graph, Node
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.partitioner.descriptors import Lowering
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.registry import Registry, Scope, place
from furiosa_ep.partitioner.shape_arithmetic import SHAPE_READERS, shape_values
from furiosa_ep.partitioner.support import Decline, NodeUnit, OperatorSupport
from furiosa_ep.partitioner.units import node_units


@dataclass(frozen=True)
class Step:
    """A node unit of a partition, and how it is lowered.

    Where `lowering` is None, its nodes are evaluated at compile time.
    """

    unit: NodeUnit
    lowering: Lowering | None


def steps(graph: Graph, registry: Registry, scope: Scope) -> tuple[Step, ...]:
    """What `lower` does, unit by unit, producers before consumers.

    Raises:
        CompileError: where a unit is not supported; says why.
    """
    known = shape_values(graph)

    def takes(unit: NodeUnit) -> bool:
        decided = scope.fused.get(place(unit))
        if decided is None:
            decided = isinstance(registry.support(unit, graph, scope), OperatorSupport)
        return decided

    return tuple(
        Step(unit, None if _folds(unit, known) else _lowering(unit, graph, registry, scope))
        for unit in node_units(graph, registry.patterns, takes)
    )


def lower(
    graph: Graph,
    steps: Sequence[Step],
    input_shapes: Mapping[str, tuple[int, ...]],
    kernels: Mapping[str, Kernel],
) -> DeviceGraph:
    """The device graph of a partition for inputs of these shapes, by lowerings and `kernels`.

    Raises:
        CompileError: where shapes do not work out; says which unit and why.
        InternalError: where a lowering breaks the builder's rules.
    """
    builder = GraphBuilder(graph, {name: input_shapes[name] for name in graph.inputs}, kernels)
    for step in steps:
        builder.label = step.unit.label
        if step.lowering is not None:
            _lower(step.unit, step.lowering, builder)
        elif step.unit.node.op_type in SHAPE_READERS:
            _read_shape(step.unit, builder)
        else:
            for node in step.unit.nodes:
                _fold(node, builder)
    device = builder.finish(graph.outputs)
    if any(step.lowering is not None and step.lowering.owner != BUILT_IN for step in steps):
        verify(device, "lowering")
    return device


def lower_alone(
    unit: NodeUnit, graph: Graph, lowering: Lowering, kernels: Mapping[str, Kernel]
) -> DeviceGraph | None:
    """The device graph of one unit of a whole model; None where its shapes are open.

    Raises:
        Exception: where it cannot be lowered.
    """
    shapes = _input_shapes(unit, graph)
    if shapes is None:
        return None
    builder = GraphBuilder(graph, shapes, kernels)
    builder.label = unit.label
    lowering.lower(unit, builder)
    device = builder.finish(
        one.name for one in unit.outputs if graph.consumers(one.name) or one.name in graph.outputs
    )
    verify(device, "lowering")
    return device


def _input_shapes(unit: NodeUnit, graph: Graph) -> dict[str, tuple[int, ...]] | None:
    """The shapes of the values that a unit reads; None where one is open, or shape arithmetic."""
    inside = {name for node in unit.nodes for name in node.outputs}
    folded = shape_values(graph)
    found: dict[str, tuple[int, ...]] = {}
    for name in (name for node in unit.nodes for name in node.inputs):
        if not name or name in inside or graph.is_constant(name):
            continue
        shape = graph.shape(name)
        known = tuple(dim for dim in shape or () if isinstance(dim, int))
        if shape is None or len(known) < len(shape) or name in folded or not graph.dtype(name):
            return None
        found[name] = known
    return found


def _folds(unit: NodeUnit, known: Container[str]) -> bool:
    if unit.node.op_type in SHAPE_READERS and not unit.node.domain:
        return True  # also of a value that a DequantizeLinear in the unit has made float
    return all(name in known for node in unit.nodes for name in node.outputs if name)


def _lowering(unit: NodeUnit, graph: Graph, registry: Registry, scope: Scope) -> Lowering:
    support = registry.entry(unit, scope)
    # An input of unknown rank: the whole graph told the partitioner more than the partition does.
    ranks_known = all(graph.shape(name) is not None for name in graph.inputs)
    if ranks_known and isinstance(support, OperatorSupport) and support.owner == BUILT_IN:
        support = registry.support(unit, graph, scope)
    if isinstance(support, Decline):
        raise CompileError(
            f"unit {unit.label!r} is in a partition, but declined: {support.code}: {support.reason}"
        )
    lowering = registry.lowering(support, unit, scope)
    if lowering is None:
        raise CompileError(f"unit {unit.label!r} is in a partition, but nothing lowers it")
    return lowering


def _lower(unit: NodeUnit, lowering: Lowering, builder: GraphBuilder) -> None:
    try:
        lowering.lower(unit, builder)
    except (CompileError, InternalError) as error:
        if lowering.owner == BUILT_IN:
            raise
        raise type(error)(f"plugin {lowering.owner!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise InternalError(
            f"plugin {lowering.owner!r} cannot lower unit {unit.label!r}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _read_shape(unit: NodeUnit, builder: GraphBuilder) -> None:
    name = unit.inputs[0].name
    shape = builder.shape(name)
    if shape is None:
        raise InternalError(
            f"unit {unit.label!r} reads the shape of {name!r}, which nothing before it computes"
        )
    builder.set_folded(unit.node.outputs[0], fold_shape(unit.node, shape))


def _fold(node: Node, builder: GraphBuilder) -> None:
    arrays = [builder.folded(name) if name else None for name in node.inputs]
    for name, array in zip(node.outputs, fold(node, arrays), strict=False):
        if name:
            builder.set_folded(name, array)

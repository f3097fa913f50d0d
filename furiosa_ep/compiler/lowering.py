"""From the ONNX graph of a partition to the device graph, for concrete input shapes."""

from collections.abc import Mapping, Sequence

from furiosa_ep.compiler.builder import GraphBuilder
from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.compiler.folding import fold, fold_shape
from furiosa_ep.graph import DeviceGraph, Graph, Node
from furiosa_ep.partitioner.plugins import Registry
from furiosa_ep.partitioner.shape_arithmetic import SHAPE_READERS, shape_values
from furiosa_ep.partitioner.support import Decline, NodeUnit


def lower(
    graph: Graph,
    units: Sequence[NodeUnit],
    registry: Registry,
    input_shapes: Mapping[str, tuple[int, ...]],
) -> DeviceGraph:
    """The device graph of claimed units, given in an order in which producers come first.

    Raises:
        CompileError: where a unit is not supported after all; says why.
        InternalError: where a lowering breaks the builder's rules.
    """
    builder = GraphBuilder(graph, input_shapes)
    foldable = shape_values(graph)
    for unit in units:
        builder.label = unit.label
        if all(name in foldable for node in unit.nodes for name in node.outputs if name):
            for node in unit.nodes:
                _fold(node, builder)
        else:
            _lower(unit, graph, registry, builder)
    return builder.finish()


def _lower(unit: NodeUnit, graph: Graph, registry: Registry, builder: GraphBuilder) -> None:
    support = registry.support(unit, graph)
    if isinstance(support, Decline):
        raise CompileError(
            f"unit {unit.label!r} is in a partition, but declined: {support.code}: {support.reason}"
        )
    try:
        support.lower(unit, builder)
    except (CompileError, InternalError):
        raise
    except Exception as error:
        raise InternalError(
            f"plugin {support.owner!r} cannot lower unit {unit.label!r}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _fold(node: Node, builder: GraphBuilder) -> None:
    if node.op_type in SHAPE_READERS:
        shape = builder.shape(node.inputs[0])
        if shape is None:
            raise InternalError(
                f"node {node.label!r} reads the shape of {node.inputs[0]!r}, which "
                "nothing before it computes"
            )
        builder.set_folded(node.outputs[0], fold_shape(node, shape))
        return
    arrays = [builder.folded(name) if name else None for name in node.inputs]
    for name, array in zip(node.outputs, fold(node, arrays), strict=False):
        if name:
            builder.set_folded(name, array)

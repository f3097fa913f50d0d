"""What the NPU gains by a node unit, and which partitions are worth it: the built-in rules."""

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.descriptors import Candidate, CostModel, PartitionSelection
from furiosa_ep.partitioner.shape_arithmetic import SHAPE_READERS
from furiosa_ep.partitioner.support import NodeUnit
from furiosa_ep.partitioner.units import ELEMENTWISE

_MOVEMENT = frozenset(
    {"Concat", "DepthToSpace", "DequantizeLinear", "Expand", "Flatten", "Gather", "Identity"}
    | {"Pad", "QuantizeLinear", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile"}
    | {"Transpose", "Unsqueeze"}
)


def typical_gain(unit: NodeUnit, graph: Graph, target: Target) -> float:
    """2 for an operator that computes, 1 for an elementwise one, 0 for one that moves data.

    For what a pattern takes as one that of its most valuable node.
    """
    if unit.chain:
        return 1
    return max(map(_node_gain, unit.nodes if unit.pattern else [unit.node]))


def _node_gain(node: Node) -> float:
    kind = node.op_type.removeprefix("QLinear")
    if kind in ELEMENTWISE:
        return 1
    return 0 if kind in _MOVEMENT or kind in SHAPE_READERS else 2


def is_profitable(candidate: Candidate) -> bool:
    """Whether the units gain more than the borders of their partition cost."""
    return candidate.gain > 1


COST_MODELS = (CostModel("typical", typical_gain),)
SELECTIONS = (
    PartitionSelection("profitable", is_profitable),
    PartitionSelection("all", lambda candidate: True),
)

"""Elements in another order: Transpose, DepthToSpace and SpaceToDepth."""

from furiosa_ep.graph import DeviceValue, Graph
from furiosa_ep.partitioner.operators.emitting import movement, reshape, transpose
from furiosa_ep.partitioner.operators.rules import MOVEMENT, attribute, describe, rank
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)


def permute(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Transpose: by `perm`, or all axes reversed."""
    reverse = list(range(len(x.shape)))[::-1]
    return transpose(x, unit.node.attributes.get("perm") or reverse, builder)


def depth_to_space(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """DepthToSpace: blocks of channels as blocks of pixels."""
    block = unit.node.attributes["blocksize"]
    n, c, h, w = x.shape
    depth = c // block**2
    if unit.node.attributes.get("mode", "DCR") == "DCR":
        blocks = reshape(x, (n, block, block, depth, h, w), builder)
        blocks = transpose(blocks, (0, 3, 4, 1, 5, 2), builder)
    else:
        blocks = reshape(x, (n, depth, block, block, h, w), builder)
        blocks = transpose(blocks, (0, 1, 4, 2, 5, 3), builder)
    return reshape(blocks, (n, depth, h * block, w * block), builder)


def space_to_depth(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """SpaceToDepth: blocks of pixels as blocks of channels."""
    block = unit.node.attributes["blocksize"]
    n, c, h, w = x.shape
    blocks = reshape(x, (n, c, h // block, block, w // block, block), builder)
    blocks = transpose(blocks, (0, 3, 5, 1, 2, 4), builder)
    return reshape(blocks, (n, c * block**2, h // block, w // block), builder)


@constraint(DeclineCode.SHAPE, "Pad, or choose another blocksize.")
def whole_blocks(unit: NodeUnit, graph: Graph) -> str | None:
    """The blocks must divide the channels (DepthToSpace), or height and width (SpaceToDepth)."""
    block = unit.node.attributes.get("blocksize", 0)
    shape = graph.shape(unit.inputs[0].name) or ()
    depth = unit.node.op_type == "DepthToSpace"
    sizes = [(shape[1], block * block)] if depth else [(dim, block) for dim in shape[2:]]
    if block < 1 or any(isinstance(dim, int) and dim % size for dim, size in sizes):
        return f"{describe(unit.inputs[0], graph)} with blocksize={block}"
    return None


_BLOCKS = (*MOVEMENT, rank(0, 4, 4), whole_blocks)

SUPPORT = (
    OperatorSupport("Transpose", movement(permute), MOVEMENT),
    OperatorSupport(
        "DepthToSpace",
        movement(depth_to_space),
        (*_BLOCKS, attribute("mode", ("DCR", "CRD"), "DCR")),
    ),
    OperatorSupport("SpaceToDepth", movement(space_to_depth), _BLOCKS),
)

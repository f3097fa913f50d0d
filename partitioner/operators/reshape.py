"""Elements in the same order: Reshape, Flatten, Squeeze, Unsqueeze, Identity and Dropout."""

import math

from furiosa_ep.graph import DeviceValue
from furiosa_ep.partitioner.operators.emitting import integers, movement, reshape
from furiosa_ep.partitioner.operators.rules import MOVEMENT, inference, known
from furiosa_ep.partitioner.support import Builder, NodeUnit, OperatorSupport


def to_shape(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Reshape: 0 keeps a dim (but for allowzero), -1 takes what is left."""
    wanted = integers(unit, builder, "shape", 1) or []
    if not unit.node.attributes.get("allowzero", 0):
        wanted = [x.shape[axis] if dim == 0 else dim for axis, dim in enumerate(wanted)]
    if -1 in wanted:
        rest = math.prod(dim for dim in wanted if dim != -1)
        wanted[wanted.index(-1)] = math.prod(x.shape) // rest if rest else 0
    return reshape(x, wanted, builder)


def flatten(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Flatten: a matrix, the dims before `axis` as rows."""
    axis = unit.node.attributes.get("axis", 1)
    axis += len(x.shape) if axis < 0 else 0
    return reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), builder)


def squeeze(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Squeeze: without the dims of 1 in `axes`, or without all of them."""
    axes = integers(unit, builder, "axes", 1)
    rank = len(x.shape)
    if axes is None:
        gone = {axis for axis, dim in enumerate(x.shape) if dim == 1}
    else:
        gone = {axis % rank for axis in axes}
    return reshape(x, [dim for axis, dim in enumerate(x.shape) if axis not in gone], builder)


def unsqueeze(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Unsqueeze: with dims of 1 at `axes` of the result."""
    axes = integers(unit, builder, "axes", 1) or []
    rank = len(x.shape) + len(axes)
    new = {axis % rank for axis in axes}
    dims = iter(x.shape)
    return reshape(x, [1 if axis in new else next(dims) for axis in range(rank)], builder)


def same(unit: NodeUnit, builder: Builder, x: DeviceValue) -> DeviceValue:
    """Identity and Dropout: nothing changes."""
    return x


_AXES = (*MOVEMENT, known(1, "axes"))

SUPPORT = (
    OperatorSupport(
        "Reshape", movement(to_shape), (*MOVEMENT, known(1, "shape", optional=False)), since=5
    ),
    OperatorSupport("Flatten", movement(flatten), MOVEMENT),
    OperatorSupport("Squeeze", movement(squeeze), _AXES),
    OperatorSupport("Unsqueeze", movement(unsqueeze), _AXES),
    OperatorSupport("Identity", movement(same), MOVEMENT),
    OperatorSupport("Dropout", movement(same), (*MOVEMENT, inference), since=7),
)

"""Passes of plugins: on a copy of the graph, which is kept only where all is well with it."""

import operator
from typing import Any

from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.compiler.passes.cleanup import remove_dead_operations
from furiosa_ep.compiler.verify import verify
from furiosa_ep.graph import DeviceGraph, DeviceValue, Table
from furiosa_ep.partitioner.descriptors import GraphPass
from furiosa_ep.partitioner.registry import Scope


def attempt(one: GraphPass, graph: DeviceGraph, scope: Scope) -> DeviceGraph:
    """What a plugin's pass makes of a graph; the graph itself where it changes nothing or fails.

    Operations that nothing reads behind it are removed.

    Raises:
        PluginError: where it fails, in strict mode.
    """
    copy = graph.copy()
    before = _parts(copy)
    inputs, outputs = list(copy.inputs), list(copy.outputs)
    try:
        one.run(copy)
        after = _parts(copy)
        if len(before) == len(after) and all(map(operator.is_, before, after)):
            return graph
        _check_inputs(copy.inputs, inputs, graph.inputs)
        _check_outputs(copy.outputs, outputs, graph.outputs)
        verify(copy, "it", tables=True)
        remove_dead_operations(copy)
        return copy.copy()  # The plugin may hold on to what it has seen.
    except (Exception, SystemExit) as error:
        what = str(error) if type(error) is InternalError else f"{type(error).__name__}: {error}"
        scope.leave_out_passes(one.owner, f"pass {one.name}: {what}")
        return graph


def _parts(graph: DeviceGraph) -> list[Any]:
    """The objects that a graph consists of; others where anything has changed."""
    parts: list[Any] = [*graph.inputs, None, *graph.outputs]
    for one in graph.operations:
        parts += (one.kind, *one.inputs, one, *one.outputs, one.name)
        parts += (*one.attributes, *one.attributes.values())
    for part in dict.fromkeys(one for one in parts if isinstance(one, (DeviceValue, Table))):
        if isinstance(part, Table):
            parts += (part.fill, part.channel_axis)
        else:
            parts += (part.name, part.dtype, part.shape, part.constant, part.signed)
    return parts


def _check_inputs(
    found: list[DeviceValue], given: list[DeviceValue], original: list[DeviceValue]
) -> None:
    """Check that a graph still has the inputs that it was given."""
    if len(found) != len(given) or not all(map(operator.is_, found, given)):
        raise InternalError("after it: other inputs than before")
    for value, known in zip(found, original, strict=True):
        if _type(value) != _type(known) or value.constant is not None:
            raise InternalError(
                f"after it: input {known.name!r} is {_type(value)}: expected {_type(known)}"
            )


def _check_outputs(
    found: list[DeviceValue], given: list[DeviceValue], original: list[DeviceValue]
) -> None:
    """Check that a graph has outputs like those that it was given, in their order."""
    if len(found) != len(given):
        raise InternalError(f"after it: {len(found)} outputs: expected {len(given)}")
    for value, before, known in zip(found, given, original, strict=True):
        if _type(value) != _type(known):
            raise InternalError(
                f"after it: output {known.name!r} is {_type(value)}: expected {_type(known)}"
            )
        if value is not before and value in given and before in found:
            raise InternalError(
                f"after it: outputs {value.name!r} and {before.name!r} in another order"
            )


def _type(value: DeviceValue) -> str:
    return f"{value.dtype.name} {list(value.shape)}"

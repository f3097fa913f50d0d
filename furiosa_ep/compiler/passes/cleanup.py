"""Removal of what does nothing."""

import numpy as np

from furiosa_ep.graph import DeviceGraph, DeviceValue


def remove_dead_operations(graph: DeviceGraph) -> None:
    """Remove operations whose results nothing reads."""
    live = set(graph.outputs)
    dead = []
    for operation in reversed(graph.operations):
        if live.isdisjoint(operation.outputs):
            dead.append(operation)
        else:
            live.update(value for value in operation.inputs if value is not None)
    graph.remove(dead)


def remove_identity_tables(graph: DeviceGraph) -> None:
    """Replace lookups in a table that changes nothing by their input."""
    codes = np.arange(256, dtype=np.uint8)
    replaced: dict[DeviceValue, DeviceValue] = {}
    dead = []
    for operation in graph.operations:
        operation.inputs = [
            None if value is None else replaced.get(value, value) for value in operation.inputs
        ]
        if operation.kind != "Lookup":
            continue
        (source,) = operation.inputs
        if source is None or source.dtype != operation.output.dtype:
            continue
        if (operation.attributes["table"].values == codes).all():
            replaced[operation.output] = source
            dead.append(operation)
    graph.outputs = [replaced.get(value, value) for value in graph.outputs]
    graph.remove(dead)

"""Padding with the zero point before a convolution is the convolution's own padding."""

from furiosa_ep.compiler.opcodes import operand
from furiosa_ep.compiler.passes.uses import Uses
from furiosa_ep.graph import DeviceGraph, Operation


def fold_pads(graph: DeviceGraph) -> None:
    """Fold a Pad of the spatial axes into the Conv that alone reads it."""
    uses = Uses.of(graph)
    dead = []
    for operation in graph.operations:
        if operation.kind != "Conv":
            continue
        pad = uses.only_producer(operand(operation))
        if pad is None or not _foldable(pad, operation):
            continue
        spatial = len(pad.output.shape) - 2
        begins, ends = pad.attributes["pads"][2 : 2 + spatial], pad.attributes["pads"][-spatial:]
        pads = [
            own + more
            for own, more in zip(operation.attributes["pads"], (*begins, *ends), strict=True)
        ]
        operation.attributes = {**operation.attributes, "pads": tuple(pads)}
        operation.inputs = [operand(pad), *operation.inputs[1:]]
        dead.append(pad)
    graph.remove(dead)


def _foldable(pad: Operation, conv: Operation) -> bool:
    if pad.kind != "Pad" or pad.attributes["value"] != conv.attributes["x_zero_point"]:
        return False
    pads, rank = pad.attributes["pads"], len(pad.output.shape)
    return not any(pads[axis] for axis in (0, 1, rank, rank + 1))

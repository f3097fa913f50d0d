"""What the host does beside the NPU and the tensors at its border: a rough model of a server."""

from furiosa_ep.estimation.placement import HostNode

RUN_SECONDS = 0.3e-3
"""Once for each run of a Program: queues, drivers, threads; fitted (docs/estimate.md)."""
NODE_SECONDS = 10e-6
"""Once for each node unit that runs on the host."""
MACS_PER_SECOND = 50e9
BYTES_PER_SECOND = 10e9
"""Of ONNX Runtime on the host's processor."""
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that move nothing."""


def node_seconds(node: HostNode) -> float:
    """What a node unit takes on the host."""
    moved = 0 if node.op_type in _VIEWS else node.bytes
    return NODE_SECONDS + max(node.macs / MACS_PER_SECOND, moved / BYTES_PER_SECOND)

"""What the host does beside the NPU, and how long that takes: a rough model of a server.

Quantize, Lower, Unlower and Dequantize run on the host's processor, once for each tensor that
enters or leaves a Program. The rates are fitted to published figures (docs/estimate.md says which).
"""

import math
from collections.abc import Container
from dataclasses import dataclass

from furiosa_ep.estimation.placement import HostNode
from furiosa_ep.program import Binding, DType, Program

RUN_SECONDS = 0.3e-3
"""Once for each run of a Program: queues, drivers, threads."""
TENSOR_SECONDS = 50e-6
"""Once for each tensor that leaves."""
QUANTIZE_FLOAT_SECONDS = 30e-9
"""For each number that is float32 when it enters."""
QUANTIZE_BYTE_SECONDS = 0.25e-9
"""For each number that is an 8-bit integer already."""
LOWER_SECONDS = 1.4e-9
"""For each number that enters, unless the NPU itself lowers the tensor."""
UNLOWER_SECONDS = 2.3e-9
"""For each number that leaves: Unlower and, where it leaves as float32, Dequantize."""
ALIGNMENT = 32
"""The NPU itself lowers a tensor whose last axis is a multiple of this."""

NODE_SECONDS = 10e-6
"""Once for each node unit that runs on the host."""
MACS_PER_SECOND = 50e9
BYTES_PER_SECOND = 10e9
"""Of ONNX Runtime on the host's processor."""
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that move nothing."""

TRANSFER_BYTES_PER_SECOND = 15.75e9
"""Over PCI Express 4.0 x8: MobileNet-v1 waits 11.1 us for 151529 bytes (docs/timing_model.md)."""


@dataclass(frozen=True)
class BorderWork:
    """What a tensor costs that enters or leaves a Program."""

    name: str
    entering: bool
    host_seconds: float
    transfer_seconds: float
    bytes: int
    """What is transferred: 8 bits for each number that is quantized."""


def border_work(program: Program, as_bytes: Container[str] = ()) -> list[BorderWork]:
    """What the inputs and outputs of a Program cost, where these inputs come as bytes."""
    works = [_entering(one, one.name in as_bytes) for one in program.inputs]
    return works + [_leaving(one) for one in program.outputs]


def node_seconds(node: HostNode) -> float:
    """What a node unit takes on the host."""
    moved = 0 if node.op_type in _VIEWS else node.bytes
    return NODE_SECONDS + max(node.macs / MACS_PER_SECOND, moved / BYTES_PER_SECOND)


def _entering(binding: Binding, as_bytes: bool) -> BorderWork:
    count = _count(binding)
    seconds = 0.0
    if binding.dtype in (DType.F32, DType.U8, DType.I8):
        is_float = binding.dtype == DType.F32 and not as_bytes
        seconds += count * (QUANTIZE_FLOAT_SECONDS if is_float else QUANTIZE_BYTE_SECONDS)
        if binding.shape and binding.shape[-1] % ALIGNMENT:
            seconds += count * LOWER_SECONDS
    return _work(binding, True, seconds)


def _leaving(binding: Binding) -> BorderWork:
    return _work(binding, False, TENSOR_SECONDS + _count(binding) * UNLOWER_SECONDS)


def _work(binding: Binding, entering: bool, seconds: float) -> BorderWork:
    size = 1 if binding.dtype == DType.F32 else binding.dtype.numpy.itemsize
    moved = size * _count(binding)
    return BorderWork(binding.name, entering, seconds, moved / TRANSFER_BYTES_PER_SECOND, moved)


def _count(binding: Binding) -> int:
    return math.prod(binding.shape)

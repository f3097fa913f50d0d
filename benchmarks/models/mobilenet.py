"""MobileNetV2, width 1.0: Sandler et al. 2018."""

import onnx

from benchmarks.models.network import Network

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and first stride of each stage."""


def mobilenet_v2(batch: int = 1) -> onnx.ModelProto:
    """The classifier of 1000 classes on batch x 3 x 224 x 224."""
    net = Network("mobilenet_v2", (batch, 3, 224, 224))
    x = net.relu6(net.conv(net.input, 32, kernel=3, stride=2))
    for expansion, channels, blocks, stride in STAGES:
        for block in range(blocks):
            x = _inverted_residual(net, x, expansion, channels, stride if block == 0 else 1)
    return net.build(net.classify(net.relu6(net.conv(x, 1280)), 1000))


def _inverted_residual(net: Network, x: str, expansion: int, channels: int, stride: int) -> str:
    inner = net.channels(x) * expansion
    branch = x if expansion == 1 else net.relu6(net.conv(x, inner))
    branch = net.relu6(net.conv(branch, inner, kernel=3, stride=stride, groups=inner))
    branch = net.conv(branch, channels, gain=0.7)
    keeps_shape = stride == 1 and net.channels(x) == channels
    return net.op("Add", x, branch) if keeps_shape else branch

"""MobileNetV1 (Howard et al. 2017) and V2 (Sandler et al. 2018), both of width 1.0."""

import onnx

from benchmarks.models.network import Network

LAYERS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
"""Channels and stride of each depthwise-separable layer of V1."""
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and first stride of each stage of V2."""


def mobilenet_v1(batch: int = 1) -> onnx.ModelProto:
    """The classifier of 1001 classes on batch x 3 x 224 x 224."""
    net = Network("mobilenet_v1", (batch, 3, 224, 224))
    x = net.relu6(net.conv(net.input, 32, kernel=3, stride=2))
    for channels, stride in LAYERS:
        x = separable(net, x, channels, stride)
    return net.build(net.classify(x, 1001))


def separable(net: Network, x: str, channels: int, stride: int) -> str:
    """A depthwise convolution and one across channels."""
    groups = net.channels(x)
    x = net.relu6(net.conv(x, groups, kernel=3, stride=stride, groups=groups))
    return net.relu6(net.conv(x, channels))


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

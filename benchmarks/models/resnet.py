"""ResNet-50 v1.5: He et al. 2015, with the stride in the 3x3 convolution of a bottleneck."""

import onnx

from benchmarks.models.network import Network

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks and inner channels of each stage."""
EXPANSION = 4
BRANCH_GAIN = 0.3
"""Keeps the sum of sixteen residual branches in the range of its first term."""


def resnet50(batch: int = 1) -> onnx.ModelProto:
    """The classifier of 1000 classes on batch x 3 x 224 x 224."""
    net = Network("resnet50", (batch, 3, 224, 224))
    x = net.relu(net.conv(net.input, 64, kernel=7, stride=2))
    x = net.max_pool(x, kernel=3, stride=2)
    for stage, (blocks, channels) in enumerate(STAGES):
        for block in range(blocks):
            x = _bottleneck(net, x, channels, stride=2 if stage > 0 and block == 0 else 1)
    return net.build(net.classify(x, 1000))


def _bottleneck(net: Network, x: str, channels: int, stride: int) -> str:
    width = channels * EXPANSION
    branch = net.relu(net.conv(x, channels))
    branch = net.relu(net.conv(branch, channels, kernel=3, stride=stride))
    branch = net.conv(branch, width, gain=BRANCH_GAIN)
    shortcut = x if net.channels(x) == width else net.conv(x, width, stride=stride, gain=0.7)
    return net.relu(net.op("Add", branch, shortcut))

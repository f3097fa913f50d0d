"""EfficientNet-B0 (Tan and Le 2019) and its relative for integer hardware, EfficientNet-Lite0."""

import onnx

from benchmarks.models.network import Network

STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
"""Expansion, kernel, channels, blocks and first stride of each stage."""
SQUEEZE = 4
"""A block's input channels to those between its two excitation layers."""
BRANCH_GAIN = 0.7
"""Keeps the sums of residual branches in the range of their first term."""
EXCITED_GAIN = 1.9
"""Makes up for excitations that halve the branch on average."""


def efficientnet_lite0(batch: int = 1) -> onnx.ModelProto:
    """The classifier of 1000 classes on batch x 3 x 224 x 224, with ReLU6 and no excitation."""
    return _efficientnet("efficientnet_lite0", batch, lite=True)


def efficientnet_b0(batch: int = 1) -> onnx.ModelProto:
    """The classifier of 1000 classes on batch x 3 x 224 x 224, with SiLU and excitation."""
    return _efficientnet("efficientnet_b0", batch, lite=False)


def _efficientnet(name: str, batch: int, lite: bool) -> onnx.ModelProto:
    net = Network(name, (batch, 3, 224, 224))
    x = _activated(net, net.input, 32, kernel=3, stride=2, lite=lite)
    for expansion, kernel, channels, blocks, stride in STAGES:
        for block in range(blocks):
            first_stride = stride if block == 0 else 1
            x = _block(net, x, expansion, kernel, channels, first_stride, lite)
    return net.build(net.classify(_activated(net, x, 1280, lite=lite), 1000))


def _activated(
    net: Network,
    x: str,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    *,
    lite: bool,
) -> str:
    x = net.conv(x, channels, kernel, stride, groups)
    return net.relu6(x) if lite else net.silu(x)


def _block(
    net: Network, x: str, expansion: int, kernel: int, channels: int, stride: int, lite: bool
) -> str:
    inner = net.channels(x) * expansion
    branch = x if expansion == 1 else _activated(net, x, inner, lite=lite)
    branch = _activated(net, branch, inner, kernel, stride, groups=inner, lite=lite)
    if not lite:
        branch = _excite(net, branch, net.channels(x) // SQUEEZE)
    branch = net.conv(branch, channels, gain=BRANCH_GAIN if lite else BRANCH_GAIN * EXCITED_GAIN)
    keeps_shape = stride == 1 and net.channels(x) == channels
    return net.op("Add", x, branch) if keeps_shape else branch


def _excite(net: Network, x: str, squeezed: int) -> str:
    """Scale every channel by what all channels' means say."""
    means = net.op("GlobalAveragePool", x)
    scales = net.conv(net.silu(net.conv(means, squeezed)), net.channels(x))
    return net.op("Mul", x, net.op("Sigmoid", scales))

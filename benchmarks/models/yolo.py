"""What the YOLO detectors of 640x640 have in common."""

import numpy as np
import numpy.typing as npt

from benchmarks.models.network import Network

SIZE = 640
STRIDES = (8, 16, 32)
"""Pixels between the cells of each level."""
CLASSES = 80
GAIN = 1.02
"""SiLU has no gain of its own at which activations stay: with more they grow, with less they die.
This one keeps those of both networks within 0.5 and 12."""


def conv(net: Network, x: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
    """A convolution with SiLU behind it."""
    return net.silu(net.conv(x, channels, kernel, stride, gain=GAIN))


def pyramid_pool(net: Network, x: str) -> str:
    """The image and three more max-pooled ones in the same channels (SPPF)."""
    pooled = [conv(net, x, net.channels(x) // 2)]
    for _ in range(3):
        pooled.append(net.max_pool(pooled[-1], kernel=5, stride=1))
    return conv(net, net.concat(*pooled), net.channels(x))


def c3(net: Network, x: str, depth: int, channels: int = 0) -> str:
    """Bottlenecks beside a convolution; without shortcuts where `channels` says how many."""
    half = (channels or net.channels(x)) // 2
    deep, flat = conv(net, x, half), conv(net, x, half)
    for _ in range(depth):
        branch = conv(net, conv(net, deep, half), half, 3)
        deep = branch if channels else net.op("Add", deep, branch)
    return conv(net, net.concat(deep, flat), 2 * half)


def aggregate_paths(
    net: Network, depth: int, small: str, medium: str, large: str
) -> tuple[str, str, str]:
    """The images of the three levels, mixed upwards and then downwards (PAFPN of C3 blocks)."""
    channels3, channels4, channels5 = map(net.channels, (small, medium, large))
    large = conv(net, large, channels4)
    upper = net.concat(net.upsample(large), medium)
    upper = conv(net, c3(net, upper, depth, channels4), channels3)
    level3 = c3(net, net.concat(net.upsample(upper), small), depth, channels3)
    down = net.concat(conv(net, level3, channels3, 3, 2), upper)
    level4 = c3(net, down, depth, channels4)
    down = net.concat(conv(net, level4, channels4, 3, 2), large)
    return level3, level4, c3(net, down, depth, channels5)


def cells(stride: int) -> npt.NDArray[np.float32]:
    """Column and row of all cells of a level, as rows x columns x 2."""
    axis = np.arange(SIZE // stride, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x, y], axis=-1)

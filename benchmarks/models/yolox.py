"""YOLOX-L (Ge et al. 2021), 640x640, as it is exported: boxes are decoded behind it."""

import onnx

from benchmarks.models.network import Network
from benchmarks.models.yolo import CLASSES, SIZE, aggregate_paths, c3, conv

DEPTH, WIDTH = 3, 64
"""The bottlenecks of the smallest stage and the channels of the first."""
HEAD_CHANNELS = 256


def yolox_l(batch: int = 1) -> onnx.ModelProto:
    """The detector: batch x 3 x 640 x 640 to batch x 8400 x 85.

    Of each cell: the encoded box, whether there is anything, and a score for each class.
    """
    net = Network("yolox_l", (batch, 3, SIZE, SIZE))
    levels = [_head(net, level) for level in aggregate_paths(net, DEPTH, *_backbone(net))]
    boxes = net.op("Concat", *levels, axis=2)
    return net.build(net.op("Transpose", boxes, perm=[0, 2, 1]))


def _backbone(net: Network) -> tuple[str, str, str]:
    x = conv(net, _focus(net, net.input), WIDTH, 3)
    x = c3(net, conv(net, x, 2 * WIDTH, 3, 2), DEPTH)
    small = c3(net, conv(net, x, 4 * WIDTH, 3, 2), 3 * DEPTH)
    medium = c3(net, conv(net, small, 8 * WIDTH, 3, 2), 3 * DEPTH)
    large = _pyramid_pool(net, conv(net, medium, 16 * WIDTH, 3, 2))
    return small, medium, c3(net, large, DEPTH, 16 * WIDTH)


def _focus(net: Network, x: str) -> str:
    """Every second column of every second row, four times, side by side in the channels."""
    parts = [
        net.slice(x, starts=(row, column), axes=(2, 3), step=2)
        for column in (0, 1)
        for row in (0, 1)
    ]
    return net.concat(*parts)


def _pyramid_pool(net: Network, x: str) -> str:
    """The image and pools of it of three sizes in the same channels (SPP)."""
    half = conv(net, x, net.channels(x) // 2)
    pooled = net.concat(half, *(net.max_pool(half, size, 1) for size in (5, 9, 13)))
    return conv(net, pooled, net.channels(x))


def _head(net: Network, x: str) -> str:
    """Box, presence and classes of the cells of one level, as batch x 85 x cells."""
    x = conv(net, x, HEAD_CHANNELS)
    scores = net.conv(_two(net, x), CLASSES)
    box = _two(net, x)
    box, presence = net.conv(box, 4), net.conv(box, 1)
    maps = net.concat(box, net.op("Sigmoid", presence), net.op("Sigmoid", scores))
    return net.reshape(maps, (0, 5 + CLASSES, -1))


def _two(net: Network, x: str) -> str:
    return conv(net, conv(net, x, HEAD_CHANNELS, 3), HEAD_CHANNELS, 3)

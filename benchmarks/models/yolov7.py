"""YOLOv7, 640x640 (Wang et al. 2022), as it is deployed: the branches of its RepConvs are one."""

import onnx

from benchmarks.models.network import Network
from benchmarks.models.yolo import CLASSES, SIZE, conv

ANCHORS = 3
"""Boxes for each cell of a level."""


def yolov7(batch: int = 1) -> onnx.ModelProto:
    """The detector on batch x 3 x 640 x 640, up to where boxes are decoded.

    The outputs are the maps of the three levels, batch x 255 x cells x cells.
    """
    net = Network("yolov7", (batch, 3, SIZE, SIZE))
    levels = _neck(net, *_backbone(net))
    maps = [
        net.conv(conv(net, level, 2 * net.channels(level), 3), ANCHORS * (5 + CLASSES))
        for level in levels
    ]
    return net.build(*maps)


def _backbone(net: Network) -> tuple[str, str, str]:
    x = conv(net, conv(net, conv(net, net.input, 32, 3), 64, 3, 2), 64, 3)
    x = _aggregate(net, conv(net, x, 128, 3, 2), 64, 256)
    small = _aggregate(net, _halve(net, x, 128), 128, 512)
    medium = _aggregate(net, _halve(net, small, 256), 256, 1024)
    large = _aggregate(net, _halve(net, medium, 512), 256, 1024)
    return small, medium, _pyramid_pool(net, large)


def _neck(net: Network, small: str, medium: str, large: str) -> tuple[str, str, str]:
    upper = net.concat(conv(net, medium, 256), net.upsample(conv(net, large, 256)))
    upper = _aggregate_all(net, upper, 256)
    level3 = net.concat(conv(net, small, 128), net.upsample(conv(net, upper, 128)))
    level3 = _aggregate_all(net, level3, 128)
    level4 = _aggregate_all(net, net.concat(_halve(net, level3, 128), upper), 256)
    level5 = _aggregate_all(net, net.concat(_halve(net, level4, 256), large), 512)
    return level3, level4, level5


def _aggregate(net: Network, x: str, inner: int, channels: int) -> str:
    """E-ELAN of the backbone: the input, twice, and every second of four convolutions."""
    flat, deep = conv(net, x, inner), conv(net, x, inner)
    middle = conv(net, conv(net, deep, inner, 3), inner, 3)
    last = conv(net, conv(net, middle, inner, 3), inner, 3)
    return conv(net, net.concat(last, middle, deep, flat), channels)


def _aggregate_all(net: Network, x: str, channels: int) -> str:
    """E-ELAN of the neck: the input, twice, and every one of four convolutions."""
    parts = [conv(net, x, channels), conv(net, x, channels)]
    for _ in range(4):
        parts.append(conv(net, parts[-1], channels // 2, 3))
    return conv(net, net.concat(*reversed(parts)), channels)


def _halve(net: Network, x: str, channels: int) -> str:
    """Half the size, by max pooling and by a convolution."""
    pooled = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return net.concat(
        conv(net, conv(net, x, channels), channels, 3, 2), conv(net, pooled, channels)
    )


def _pyramid_pool(net: Network, x: str) -> str:
    """Pools of three sizes between two branches (SPPCSPC)."""
    half = net.channels(x) // 2
    deep = conv(net, conv(net, conv(net, x, half), half, 3), half)
    pooled = net.concat(deep, *(net.max_pool(deep, size, 1) for size in (5, 9, 13)))
    deep = conv(net, conv(net, pooled, half), half, 3)
    return conv(net, net.concat(deep, conv(net, x, half)), half)

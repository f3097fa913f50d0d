"""YOLOv5s 6.0, 640x640, with the decoding of boxes in the graph, as it is exported."""

import numpy as np
import onnx

from benchmarks.models.network import Network
from benchmarks.models.yolo import CLASSES, SIZE, STRIDES, cells, conv, pyramid_pool

ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Width and height in pixels of the boxes of each level."""
VALUES = 5 + CLASSES
"""Of a box: x, y, width, height, whether there is anything, and a score for each class."""


def yolov5s(batch: int = 1) -> onnx.ModelProto:
    """The detector: batch x 3 x 640 x 640 to batch x 25200 x 85."""
    net = Network("yolov5s", (batch, 3, SIZE, SIZE))
    levels = zip(_neck(net, *_backbone(net)), STRIDES, ANCHORS, strict=True)
    boxes = [_head(net, x, stride, anchors) for x, stride, anchors in levels]
    return net.build(net.op("Concat", *boxes, axis=1))


def _backbone(net: Network) -> tuple[str, str, str]:
    x = conv(net, net.input, 32, 6, 2)
    x = _c3(net, conv(net, x, 64, 3, 2), 64, 1)
    small = _c3(net, conv(net, x, 128, 3, 2), 128, 2)
    medium = _c3(net, conv(net, small, 256, 3, 2), 256, 3)
    large = _c3(net, conv(net, medium, 512, 3, 2), 512, 1)
    return small, medium, pyramid_pool(net, large)


def _neck(net: Network, small: str, medium: str, large: str) -> tuple[str, str, str]:
    large = conv(net, large, 256)
    upper = _c3(net, net.concat(net.upsample(large), medium), 256, 1, shortcut=False)
    upper = conv(net, upper, 128)
    level3 = _c3(net, net.concat(net.upsample(upper), small), 128, 1, shortcut=False)
    down = net.concat(conv(net, level3, 128, 3, 2), upper)
    level4 = _c3(net, down, 256, 1, shortcut=False)
    down = net.concat(conv(net, level4, 256, 3, 2), large)
    return level3, level4, _c3(net, down, 512, 1, shortcut=False)


def _c3(net: Network, x: str, channels: int, depth: int, shortcut: bool = True) -> str:
    half = channels // 2
    deep, flat = conv(net, x, half), conv(net, x, half)
    for _ in range(depth):
        branch = conv(net, conv(net, deep, half), half, 3)
        deep = net.op("Add", deep, branch) if shortcut else branch
    return conv(net, net.concat(deep, flat), channels)


def _head(net: Network, x: str, stride: int, anchors: tuple[tuple[int, int], ...]) -> str:
    """The boxes of one level in pixels, as batch x boxes x values."""
    side = SIZE // stride
    x = net.conv(x, len(anchors) * VALUES)
    x = net.reshape(x, (0, len(anchors), VALUES, side, side))
    x = net.op("Sigmoid", net.op("Transpose", x, perm=[0, 1, 3, 4, 2]))
    centre, size, scores = net.split(x, (2, 2, 1 + CLASSES), axis=4)
    shape = (1, len(anchors), side, side, 2)
    grid = np.broadcast_to(cells(stride) - np.float32(0.5), shape)
    centre = net.op("Add", net.op("Mul", centre, net.scalar(2)), net.constant(grid))
    centre = net.op("Mul", centre, net.scalar(stride))
    sizes = np.broadcast_to(np.array(anchors, np.float32).reshape(1, -1, 1, 1, 2), shape)
    size = net.op("Pow", net.op("Mul", size, net.scalar(2)), net.scalar(2))
    size = net.op("Mul", size, net.constant(sizes))
    return net.reshape(net.op("Concat", centre, size, scores, axis=4), (0, -1, VALUES))

"""YOLOv5 6.0, 640x640, with the decoding of boxes in the graph, as it is exported."""

from functools import partial
from typing import NamedTuple

import numpy as np
import onnx

from benchmarks.models.network import Network
from benchmarks.models.yolo import (
    CLASSES,
    SIZE,
    STRIDES,
    aggregate_paths,
    c3,
    cells,
    conv,
    pyramid_pool,
)

ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Width and height in pixels of the boxes of each level."""
VALUES = 5 + CLASSES
"""Of a box: x, y, width, height, whether there is anything, and a score for each class."""


class Size(NamedTuple):
    """What tells the networks of the family apart."""

    depth: int
    """The bottlenecks of the smallest stage; others have two or three times as many."""
    width: int
    """The channels of the first stage."""


def _yolov5(size: Size, batch: int = 1) -> onnx.ModelProto:
    """The detector: batch x 3 x 640 x 640 to batch x 25200 x 85."""
    net = Network("yolov5", (batch, 3, SIZE, SIZE))
    levels = zip(
        aggregate_paths(net, size.depth, *_backbone(net, size)), STRIDES, ANCHORS, strict=True
    )
    boxes = [_head(net, x, stride, anchors) for x, stride, anchors in levels]
    return net.build(net.op("Concat", *boxes, axis=1))


yolov5n = partial(_yolov5, Size(1, 16))
yolov5s = partial(_yolov5, Size(1, 32))
yolov5m = partial(_yolov5, Size(2, 48))
yolov5l = partial(_yolov5, Size(3, 64))


def _backbone(net: Network, size: Size) -> tuple[str, str, str]:
    depth, width = size
    x = conv(net, net.input, width, 6, 2)
    x = c3(net, conv(net, x, 2 * width, 3, 2), depth)
    small = c3(net, conv(net, x, 4 * width, 3, 2), 2 * depth)
    medium = c3(net, conv(net, small, 8 * width, 3, 2), 3 * depth)
    large = c3(net, conv(net, medium, 16 * width, 3, 2), depth)
    return small, medium, pyramid_pool(net, large)


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

"""YOLOv8n, 640x640, with the decoding of boxes in the graph, as it is exported for deployment."""

import numpy as np
import onnx

from benchmarks.models.network import Network
from benchmarks.models.yolo import CLASSES, SIZE, STRIDES, cells, conv, pyramid_pool

BINS = 16
"""A side of a box is the mean of a distribution over so many distances."""


def yolov8n(batch: int = 1) -> onnx.ModelProto:
    """The detector: batch x 3 x 640 x 640 to batch x 84 x 8400.

    A box is its centre's x and y, its width and height, and a score for each class.
    """
    net = Network("yolov8n", (batch, 3, SIZE, SIZE))
    levels = _neck(net, *_backbone(net))
    x = net.op("Concat", *(_head(net, level) for level in levels), axis=2)
    boxes, scores = net.split(x, (4 * BINS, CLASSES))
    return net.build(net.op("Concat", _decode(net, boxes), net.op("Sigmoid", scores), axis=1))


def _backbone(net: Network) -> tuple[str, str, str]:
    x = conv(net, net.input, 16, 3, 2)
    x = _c2f(net, conv(net, x, 32, 3, 2), 32, 1)
    small = _c2f(net, conv(net, x, 64, 3, 2), 64, 2)
    medium = _c2f(net, conv(net, small, 128, 3, 2), 128, 2)
    large = _c2f(net, conv(net, medium, 256, 3, 2), 256, 1)
    return small, medium, pyramid_pool(net, large)


def _neck(net: Network, small: str, medium: str, large: str) -> tuple[str, str, str]:
    upper = _c2f(net, net.concat(net.upsample(large), medium), 128, 1, shortcut=False)
    level3 = _c2f(net, net.concat(net.upsample(upper), small), 64, 1, shortcut=False)
    down = net.concat(conv(net, level3, 64, 3, 2), upper)
    level4 = _c2f(net, down, 128, 1, shortcut=False)
    down = net.concat(conv(net, level4, 128, 3, 2), large)
    return level3, level4, _c2f(net, down, 256, 1, shortcut=False)


def _c2f(net: Network, x: str, channels: int, depth: int, shortcut: bool = True) -> str:
    half = channels // 2
    parts = net.split(conv(net, x, channels), (half, half))
    for _ in range(depth):
        branch = conv(net, conv(net, parts[-1], half, 3), half, 3)
        parts.append(net.op("Add", parts[-1], branch) if shortcut else branch)
    return conv(net, net.concat(*parts), channels)


def _head(net: Network, x: str) -> str:
    """Distances to the four sides and class scores of one level, as batch x 144 x cells."""
    sides = conv(net, conv(net, x, 64, 3), 64, 3)
    classes = conv(net, conv(net, x, CLASSES, 3), CLASSES, 3)
    maps = net.concat(net.conv(sides, 4 * BINS), net.conv(classes, CLASSES))
    return net.reshape(maps, (0, 4 * BINS + CLASSES, -1))


def _decode(net: Network, boxes: str) -> str:
    """Distributions of distances to centre, width and height in pixels."""
    bins = net.reshape(boxes, (0, 4, BINS, -1))
    bins = net.op("Transpose", bins, perm=[0, 2, 1, 3], channels=BINS)
    weights = net.constant(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    mean = net.op("Conv", net.op("Softmax", bins, axis=1), weights, channels=1)
    top_left, bottom_right = net.split(net.reshape(mean, (0, 4, -1)), (2, 2))
    centres = [cells(stride).reshape(-1, 2).T + np.float32(0.5) for stride in STRIDES]
    scale = np.repeat(np.array(STRIDES, np.float32), [centre.shape[1] for centre in centres])
    anchors = net.constant(np.concatenate(centres, axis=1)[None])
    first = net.op("Sub", anchors, top_left)
    last = net.op("Add", anchors, bottom_right)
    centre = net.op("Div", net.op("Add", first, last), net.scalar(2))
    size = net.op("Sub", last, first)
    return net.op("Mul", net.op("Concat", centre, size, axis=1), net.constant(scale[None]))

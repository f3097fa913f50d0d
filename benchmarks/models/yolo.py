"""YOLOv8n, 640x640, with the decoding of boxes in the graph, as it is exported for deployment."""

from collections.abc import Sequence

import numpy as np
import onnx

from benchmarks.models.network import Network

SIZE = 640
STRIDES = (8, 16, 32)
CLASSES = 80
BINS = 16
"""A side of a box is the mean of a distribution over so many distances."""


def yolov8n() -> onnx.ModelProto:
    """The detector: 1x3x640x640 to 1x84x8400, boxes as x, y, width, height, then class scores."""
    net = Network("yolov8n", (1, 3, SIZE, SIZE))
    levels = _neck(net, *_backbone(net))
    x = net.op("Concat", *(_head(net, level) for level in levels), axis=2)
    boxes, scores = net.split(x, (4 * BINS, CLASSES))
    output = net.op("Concat", _decode(net, boxes), net.op("Sigmoid", scores), axis=1)
    return net.build(output, (1, 4 + CLASSES, _anchor_count()))


def _anchor_count() -> int:
    return sum((SIZE // stride) ** 2 for stride in STRIDES)


def _conv(net: Network, x: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
    return net.silu(net.conv(x, channels, kernel, stride, gain=1.3))


def _backbone(net: Network) -> tuple[str, str, str]:
    x = _conv(net, net.input, 16, 3, 2)
    x = _c2f(net, _conv(net, x, 32, 3, 2), 32, 1)
    small = _c2f(net, _conv(net, x, 64, 3, 2), 64, 2)
    medium = _c2f(net, _conv(net, small, 128, 3, 2), 128, 2)
    large = _c2f(net, _conv(net, medium, 256, 3, 2), 256, 1)
    return small, medium, _sppf(net, large)


def _neck(net: Network, small: str, medium: str, large: str) -> tuple[str, str, str]:
    upper = _c2f(net, net.concat(_upsample(net, large), medium), 128, 1, shortcut=False)
    level3 = _c2f(net, net.concat(_upsample(net, upper), small), 64, 1, shortcut=False)
    down = net.concat(_conv(net, level3, 64, 3, 2), upper)
    level4 = _c2f(net, down, 128, 1, shortcut=False)
    down = net.concat(_conv(net, level4, 128, 3, 2), large)
    return level3, level4, _c2f(net, down, 256, 1, shortcut=False)


def _c2f(net: Network, x: str, channels: int, depth: int, shortcut: bool = True) -> str:
    half = channels // 2
    parts = net.split(_conv(net, x, channels), (half, half))
    for _ in range(depth):
        branch = _conv(net, _conv(net, parts[-1], half, 3), half, 3)
        parts.append(net.op("Add", parts[-1], branch) if shortcut else branch)
    return _conv(net, net.concat(*parts), channels)


def _sppf(net: Network, x: str) -> str:
    pooled = [_conv(net, x, net.channels(x) // 2)]
    for _ in range(3):
        pooled.append(net.max_pool(pooled[-1], kernel=5, stride=1))
    return _conv(net, net.concat(*pooled), net.channels(x))


def _upsample(net: Network, x: str) -> str:
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    return net.op(
        "Resize",
        x,
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _head(net: Network, x: str) -> str:
    """Distances to the four sides and class scores of one level, as 1 x 144 x cells."""
    sides = _conv(net, _conv(net, x, 64, 3), 64, 3)
    classes = _conv(net, _conv(net, x, CLASSES, 3), CLASSES, 3)
    maps = net.concat(net.conv(sides, 4 * BINS), net.conv(classes, CLASSES))
    return net.reshape(maps, (1, 4 * BINS + CLASSES, -1))


def _decode(net: Network, boxes: str) -> str:
    """Distributions of distances to centre, width and height in pixels."""
    bins = net.op("Transpose", net.reshape(boxes, (1, 4, BINS, -1)), perm=[0, 2, 1, 3], channels=16)
    weights = net.constant(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    mean = net.op("Conv", net.op("Softmax", bins, axis=1), weights, channels=1)
    top_left, bottom_right = net.split(net.reshape(mean, (1, 4, -1)), (2, 2))
    centres, strides = _anchors(STRIDES)
    anchors = net.constant(centres)
    first = net.op("Sub", anchors, top_left)
    last = net.op("Add", anchors, bottom_right)
    two = net.constant(np.array(2, np.float32))
    centre = net.op("Div", net.op("Add", first, last), two)
    size = net.op("Sub", last, first)
    return net.op("Mul", net.op("Concat", centre, size, axis=1), net.constant(strides))


def _anchors(strides: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Centres of all cells in cells (1 x 2 x anchors), and their strides (1 x anchors)."""
    centres, scale = [], []
    for stride in strides:
        axis = np.arange(SIZE // stride, dtype=np.float32) + 0.5
        y, x = np.meshgrid(axis, axis, indexing="ij")
        centres.append(np.stack([x.ravel(), y.ravel()]))
        scale.append(np.full(axis.size**2, stride, np.float32))
    return np.concatenate(centres, axis=1)[None], np.concatenate(scale)[None]

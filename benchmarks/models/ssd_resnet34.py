"""SSD on ResNet-34, as MLPerf Inference has it: COCO at 1200x1200."""

import onnx

from benchmarks.models.network import Network

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 1))
"""Blocks, channels and first stride of each stage; the last one of ResNet-34 is left out."""
EXTRA = ((256, 512, 2, 1), (256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 0), (128, 256, 1, 0))
"""Inner and outer channels, stride and padding of each layer behind the backbone."""
PREDICT_STRIDES = (3, 3, 2, 2, 2, 2)
"""Of the convolutions that predict boxes, at each level."""
ANCHORS = (4, 6, 6, 6, 4, 4)
"""Boxes for each place of a level where boxes are predicted."""
CLASSES = 81


def ssd_resnet34(batch: int = 1) -> onnx.ModelProto:
    """The detector on batch x 3 x 1200 x 1200, up to where boxes are decoded and selected.

    The outputs are the encoded boxes, batch x 4 x 15130, and the scores, batch x 81 x 15130.
    """
    net = Network("ssd_resnet34", (batch, 3, 1200, 1200))
    heads = list(zip(_levels(net), PREDICT_STRIDES, ANCHORS, strict=True))
    boxes = [_predict(net, x, stride, anchors, 4) for x, stride, anchors in heads]
    scores = [_predict(net, x, stride, anchors, CLASSES) for x, stride, anchors in heads]
    return net.build(net.op("Concat", *boxes, axis=2), net.op("Concat", *scores, axis=2))


def _levels(net: Network) -> list[str]:
    """The images of 150, 75, 38, 19, 9 and 7 cells a side."""
    x = net.relu(net.conv(net.input, 64, kernel=7, stride=2))
    x = net.max_pool(x, kernel=3, stride=2)
    for blocks, channels, stride in STAGES:
        for block in range(blocks):
            x = _block(net, x, channels, stride if block == 0 else 1)
    levels = [x]
    for inner, outer, stride, padding in EXTRA:
        x = net.relu(net.conv(x, inner))
        x = net.relu(net.conv(x, outer, kernel=3, stride=stride, padding=padding))
        levels.append(x)
    return levels


def _block(net: Network, x: str, channels: int, stride: int) -> str:
    branch = net.relu(net.conv(x, channels, kernel=3, stride=stride))
    branch = net.conv(branch, channels, kernel=3, gain=0.5)
    same = stride == 1 and net.channels(x) == channels
    shortcut = x if same else net.conv(x, channels, stride=stride, gain=0.7)
    return net.relu(net.op("Add", branch, shortcut))


def _predict(net: Network, x: str, stride: int, anchors: int, values: int) -> str:
    """So many values for each anchor, as batch x values x anchors of the level."""
    return net.reshape(net.conv(x, anchors * values, kernel=3, stride=stride), (0, values, -1))

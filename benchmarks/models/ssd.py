"""SSD (Liu et al. 2016) on MobileNetV1 (Howard et al. 2017), as trained on COCO at 300x300."""

import onnx

from benchmarks.models.mobilenet import LAYERS, separable
from benchmarks.models.network import Network

FIRST_LEVEL = 10
"""The layer of the backbone, from 0, whose image is the first with boxes; the last's is next."""
EXTRA = ((256, 512), (128, 256), (128, 256), (64, 128))
"""Inner and outer channels of each layer that halves the size behind the backbone."""
ANCHORS = (3, 6, 6, 6, 6, 6)
"""Boxes for each cell of a level."""
CLASSES = 91


def ssd_mobilenet_v1(batch: int = 1) -> onnx.ModelProto:
    """The detector on batch x 3 x 300 x 300, up to where boxes are decoded and selected.

    The outputs are the encoded boxes, batch x 1917 x 4, and the scores, batch x 1917 x 91.
    """
    net = Network("ssd_mobilenet_v1", (batch, 3, 300, 300))
    heads = list(zip(_levels(net), ANCHORS, strict=True))
    boxes = [_predict(net, level, anchors, 4) for level, anchors in heads]
    scores = [_predict(net, level, anchors, CLASSES) for level, anchors in heads]
    joined = net.op("Concat", *scores, axis=1)
    return net.build(net.op("Concat", *boxes, axis=1), net.op("Sigmoid", joined))


def _levels(net: Network) -> list[str]:
    """The images of 19, 10, 5, 3, 2 and 1 cells a side."""
    layers = [net.relu6(net.conv(net.input, 32, kernel=3, stride=2))]
    for channels, stride in LAYERS:
        layers.append(separable(net, layers[-1], channels, stride))
    levels = [layers[1 + FIRST_LEVEL], layers[-1]]
    for inner, outer in EXTRA:
        x = net.relu6(net.conv(levels[-1], inner))
        levels.append(net.relu6(net.conv(x, outer, kernel=3, stride=2)))
    return levels


def _predict(net: Network, x: str, anchors: int, values: int) -> str:
    """So many values for each anchor of each cell, as batch x anchors of the level x values."""
    x = net.op("Transpose", net.conv(x, anchors * values), perm=[0, 2, 3, 1])
    return net.reshape(x, (0, -1, values))

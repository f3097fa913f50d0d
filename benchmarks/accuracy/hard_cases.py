"""Networks that are hard to hold in 8 bits, each for a reason that trained networks have as well.

Weights are random and the same every time; values spread as told (`benchmarks.models.trained`).
Images to calibrate on and images of the test are drawn alike, rare ones included.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import onnx

from benchmarks.accuracy.tasks import Array, Feed, Outputs, Task
from benchmarks.models.trained import Spread, Trained, textures

SIDE = 48
"""Pixels along the edges of images."""
PIXELS = 320
"""The same of detectors' images."""
CLASSES = 10

WIDE = Spread(decades=3, largest=20)
"""Channels apart by 1000."""
LIMITED = Spread(decades=3, largest=6)
"""The same, few values of which are above 6."""
USUAL = Spread(rare=0.08)
"""Some channels that are hardly ever above zero."""
BOTTLENECK = Spread(decades=1, largest=2)
"""Between layers, without an activation function."""
GATES = Spread(decades=0.5, largest=2, offset=1)
"""Of excitations: most are open or closed."""
CALM = Spread()


def depthwise(images: Array, limited: bool = False) -> onnx.ModelProto:
    """Depthwise-separable as MobileNetV1, with channels apart by 1000; `limited` by Relu6."""
    net = Trained("depthwise", images)
    spread, activation = (LIMITED, net.relu6) if limited else (WIDE, net.relu)
    x = activation(net.layer(net.input, 16, 3, 2, spread=spread))
    for channels, stride in ((32, 1), (48, 2), (48, 1), (64, 2), (64, 1)):
        inner = net.channels(x)
        x = activation(net.layer(x, inner, 3, stride, groups=inner, spread=spread))
        x = activation(net.layer(x, channels, spread=spread))
    return net.build(_classified(net, x))


def excited(images: Array) -> onnx.ModelProto:
    """SiLU, squeeze and excitation, and linear bottlenecks as in EfficientNet-B0."""
    net = Trained("excited", images)
    x = net.silu(net.layer(net.input, 16, 3, 2, spread=USUAL))
    for channels, kernel, stride in ((16, 3, 1), (24, 5, 2), (24, 3, 1), (40, 3, 2), (40, 5, 1)):
        inner = 4 * net.channels(x)
        y = net.silu(net.layer(x, inner, spread=USUAL))
        y = net.silu(net.layer(y, inner, kernel, stride, groups=inner, spread=USUAL))
        squeezed = net.silu(net.layer(net.op("GlobalAveragePool", y), inner // 8, spread=CALM))
        y = net.op("Mul", y, net.op("Sigmoid", net.layer(squeezed, inner, spread=GATES)))
        y = net.layer(y, channels, spread=BOTTLENECK)
        x = net.op("Add", x, y) if stride == 1 and net.channels(x) == channels else y
    return net.build(_classified(net, net.silu(net.layer(x, 128, spread=USUAL))))


def hard_swish(images: Array) -> onnx.ModelProto:
    """Relu, then HardSwish, excitations with HardSigmoid, as in MobileNetV3."""
    net = Trained("hard_swish", images)

    def active(x: str, hard: bool) -> str:
        return net.op("HardSwish", x) if hard else net.relu(x)

    x = active(net.layer(net.input, 16, 3, 2, spread=USUAL), hard=True)
    for channels, kernel, stride, excite, hard in (
        (16, 3, 1, True, False),
        (24, 3, 2, False, False),
        (24, 3, 1, False, True),
        (40, 5, 2, True, True),
        (40, 5, 1, True, True),
    ):
        inner, spread = 4 * net.channels(x), USUAL if hard else WIDE
        y = active(net.layer(x, inner, spread=spread), hard)
        y = active(net.layer(y, inner, kernel, stride, groups=inner, spread=spread), hard)
        if excite:
            squeezed = net.relu(net.layer(net.op("GlobalAveragePool", y), inner // 4, spread=CALM))
            gates = net.layer(squeezed, inner, spread=GATES)
            y = net.op("Mul", y, net.op("HardSigmoid", gates, alpha=1 / 6))
        y = net.layer(y, channels, spread=BOTTLENECK)
        x = net.op("Add", x, y) if stride == 1 and net.channels(x) == channels else y
    return net.build(_classified(net, active(net.layer(x, 128, spread=USUAL), hard=True)))


def _classified(net: Trained, x: str) -> str:
    means = net.op("GlobalAveragePool", x)
    return net.op("Flatten", net.layer(means, CLASSES, spread=CALM))


def _levels(net: Trained) -> list[tuple[str, int]]:
    """Two maps of features and their strides in pixels."""
    x = net.silu(net.layer(net.input, 12, 6, 4))
    x = net.silu(net.layer(x, 16, 3, 2))
    middle = net.silu(net.layer(x, 32, 3, 2))
    return [(middle, 16), (net.silu(net.layer(middle, 48, 3, 2)), 32)]


def anchors(images: Array) -> onnx.ModelProto:
    """Boxes in pixels and scores in one output, batch x boxes x values, as of YOLOv5."""
    net = Trained("anchors", images)
    found = []
    for x, stride in _levels(net):
        side, boxes = PIXELS // stride, 3
        y = net.layer(x, boxes * (5 + CLASSES))
        y = net.op("Sub", y, net.constant(_prior(boxes)))
        y = net.reshape(y, (0, boxes, 5 + CLASSES, side, side))
        y = net.op("Sigmoid", net.op("Transpose", y, perm=[0, 1, 3, 4, 2]))
        centre, size, scores = net.split(y, (2, 2, 1 + CLASSES), axis=4)
        columns, rows = np.meshgrid(np.arange(side), np.arange(side))
        cells = np.stack([columns, rows], axis=-1).astype(np.float32) - np.float32(0.5)
        centre = net.op("Add", net.op("Mul", centre, net.scalar(2)), net.constant(cells))
        centre = net.op("Mul", centre, net.scalar(stride))
        size = net.op("Pow", net.op("Mul", size, net.scalar(2)), net.scalar(2))
        size = net.op("Mul", size, net.scalar(3 * stride))
        parts = net.op("Concat", centre, size, scores, axis=4)
        found.append(net.reshape(parts, (0, -1, 5 + CLASSES)))
    return net.build(net.op("Concat", *found, axis=1))


def _prior(boxes: int) -> Array:
    """What is taken from logits so that nothing is found in most places: [channels, 1, 1]."""
    values = np.zeros((boxes, 5 + CLASSES), np.float32)
    values[:, 4:] = 2.5
    return values.reshape(-1, 1, 1)


def anchor_free(images: Array) -> onnx.ModelProto:
    """Boxes in pixels above scores in one output, batch x values x boxes, as of YOLOv8."""
    net = Trained("anchor_free", images)
    boxes, scores = [], []
    for x, stride in _levels(net):
        side = PIXELS // stride
        sides = net.op("Softplus", net.layer(net.silu(net.layer(x, 24, 3)), 4))
        sides = net.op("Mul", net.reshape(sides, (0, 4, -1)), net.scalar(2 * stride))
        columns, rows = np.meshgrid(np.arange(side), np.arange(side))
        cells = np.stack([columns, rows]).reshape(1, 2, -1)
        centres = net.constant(((cells + 0.5) * stride).astype(np.float32))
        before, after = net.split(sides, (2, 2))
        boxes.append(net.concat(net.op("Sub", centres, before), net.op("Add", centres, after)))
        logits = net.layer(net.silu(net.layer(x, 24, 3)), CLASSES)
        logits = net.op("Sub", net.reshape(logits, (0, CLASSES, -1)), net.scalar(4))
        scores.append(net.op("Sigmoid", logits))
    every = (net.op("Concat", *found, axis=2) for found in (boxes, scores))
    return net.build(net.op("Concat", *every, axis=1))


def hard_tasks(count: int = 200, calibration: int = 100) -> list[Task]:
    """A task for each network. What they lose is the noise of their outputs."""
    return [
        _task("Depthwise, channels apart by 1000", depthwise, SIDE, count, calibration),
        _task(
            "The same with Relu6", partial(depthwise, limited=True), SIDE, count, calibration
        ),
        _task("SiLU, squeeze and excitation", excited, SIDE, count, calibration),
        _task("HardSwish, MobileNetV3", hard_swish, SIDE, count, calibration),
        _task(
            "Boxes and scores, YOLOv5", anchors, PIXELS, count // 5, calibration // 5,
            lambda outputs: [outputs[0][..., :4], outputs[0][..., 4:]],
        ),
        _task(
            "Boxes and scores, YOLOv8", anchor_free, PIXELS, count // 5, calibration // 5,
            lambda outputs: [outputs[0][:, :4], outputs[0][:, 4:]],
        ),
    ]  # fmt: skip


def _task(
    name: str,
    network: Callable[[Array], onnx.ModelProto],
    size: int,
    count: int,
    calibration: int,
    parts: Callable[[Outputs], list[Array]] = list,
) -> Task:
    def samples(seed: int, count: int) -> Iterator[Feed]:
        for image in textures(count, size, seed):
            yield {"images": image[None]}

    model = cache(lambda: network(textures(200 if size == SIDE else 8, size, seed=0)))
    return Task(
        name, (), model, partial(samples, 1, calibration), partial(samples, 2, count), parts,
        hard=True,
    )  # fmt: skip

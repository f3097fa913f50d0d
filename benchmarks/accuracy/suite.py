"""The tasks on trained models, as far as ../shared/models is at hand."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import onnx
from PIL import ImageOps

from benchmarks.accuracy.detection import box_figures, fastestdet, yunet
from benchmarks.accuracy.measure import run
from benchmarks.accuracy.pictures import SHARED, crops, digits, labelled, photographs
from benchmarks.accuracy.tasks import (
    Array,
    Feed,
    Figure,
    Outputs,
    Task,
    agreement,
    best,
    psnr,
    top1,
)

CALIBRATION = 100
"""Images that a model is calibrated on."""

IMAGENET_MEAN = 255 * np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
IMAGENET_DEVIATION = 255 * np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]

Normalise = Callable[[Array], Array]


def real_tasks(limit: int | None = None) -> list[Task]:
    """Every task on a trained model, with at most `limit` test images each."""
    if not SHARED.exists():
        return []
    return [
        *_labelled_tasks(limit),
        *_photograph_tasks(limit),
    ]


def _labelled_tasks(limit: int | None) -> Iterator[Task]:
    cifar = ("cifar10_calib500", "cifar10_test2000")
    vww = ("vww_calib100", "vww_test400")
    for title, model, (calibration, test), normalise in (
        ("CIFAR-10 ResNet8", "cifar10_resnet8_mlperf_tiny", cifar, _raw),
        ("CIFAR-10 ResNet20", "cifar10_resnet20", cifar, _imagenet),
        ("VWW MobileNet", "vww_mobilenetv1_025_96", vww, _unit),
    ):
        images, _ = labelled(calibration)
        yield _classifier(title, model, normalise, images, *labelled(test), limit)
    images, labels = digits()
    for title, model, normalise in (
        ("MNIST", "mnist_8", _raw),
        ("MNIST MLP", "furiosa_mnist_mlp", _mnist),
    ):
        test_set = images[CALIBRATION:], labels[CALIBRATION:]
        yield _classifier(title, model, normalise, images, *test_set, limit)


def _classifier(
    title: str,
    name: str,
    normalise: Normalise,
    calibration: Array,
    images: Array,
    labels: Array,
    limit: int | None,
) -> Task:
    model = load(name)
    images, labels = images[:limit], labels[:limit]
    return Task(
        f"{title}, {len(images):,} images",
        [top1(labels)],
        partial(load, name),
        partial(_feeds, model, calibration[:CALIBRATION], normalise),
        partial(_feeds, model, images, normalise),
    )


def _photograph_tasks(limit: int | None) -> Iterator[Task]:
    count = min(limit or 600, 600)
    seen = top1(np.resize(_classes("efficientnet_lite0", 224, _lite), count))
    likeness = Figure("same class as float %", agreement)
    yield photograph_task(
        "EfficientNet-Lite0", "efficientnet_lite0", 224, _lite, [seen, likeness], count
    )
    likeness = Figure("PSNR to float, dB", psnr)
    name = "super_resolution_x3_224"
    yield photograph_task("Super-resolution", name, 224, _luma, [likeness], min(limit or 20, 20))
    for title, name, size, normalise, decode, threshold in (
        ("FastestDet", "FastestDet", 352, _bgr_unit, fastestdet, 0.5),
        ("YuNet, faces", "yunet_n_320_320", 320, _bgr, yunet, 0.6),
    ):
        mirrored = partial(_mirrored, name, size, normalise, count)
        figures = box_figures(decode, threshold, mirrored)
        yield photograph_task(title, name, size, normalise, figures, count)


def _mirrored(name: str, size: int, normalise: Normalise, count: int) -> Outputs:
    """What the float model computes of the test's images with left and right exchanged."""
    images = (image[..., ::-1] for image in crops(False, size, size, count))
    return run(load(name), _feeds(load(name), images, normalise))


def _classes(name: str, size: int, normalise: Normalise) -> Array:
    """What the float model sees in each photograph that is for tests, in the middle of it."""
    model = load(name)
    squares = (
        np.asarray(ImageOps.fit(photo, (size, size))).transpose(2, 0, 1)
        for photo in photographs(calibrating=False)
    )
    return best(run(model, _feeds(model, squares, normalise)))


def photograph_task(
    title: str,
    name: str,
    size: int,
    normalise: Normalise,
    figures: Sequence[Figure],
    count: int,
) -> Task:
    """A task on parts of photographs, those for the test from others than those to calibrate."""
    model = load(name)

    def samples(calibrating: bool, count: int) -> Iterator[Feed]:
        yield from _feeds(model, crops(calibrating, size, size, count), normalise)

    return Task(
        f"{title}, {count} crops",
        figures,
        partial(load, name),
        partial(samples, True, CALIBRATION),
        partial(samples, False, count),
    )


def load(name: str) -> onnx.ModelProto:
    """A trained model of ../shared/models."""
    return onnx.load(SHARED / "onnx" / f"{name}.onnx")


def _feeds(model: onnx.ModelProto, images: Iterable[Array], normalise: Normalise) -> Iterator[Feed]:
    constants = {tensor.name for tensor in model.graph.initializer}
    (name,) = (value.name for value in model.graph.input if value.name not in constants)
    for image in images:
        yield {name: normalise(image.astype(np.float32))[None].astype(np.float32)}


def _raw(pixels: Array) -> Array:
    return pixels


def _unit(pixels: Array) -> Array:
    return pixels / 255


def _imagenet(pixels: Array) -> Array:
    return (pixels - IMAGENET_MEAN) / IMAGENET_DEVIATION


def _mnist(pixels: Array) -> Array:
    return (pixels / 255 - 0.1307) / 0.3081


def _lite(pixels: Array) -> Array:
    return (pixels - 127) / 128


def _bgr(pixels: Array) -> Array:
    return pixels[::-1]


def _bgr_unit(pixels: Array) -> Array:
    return pixels[::-1] / 255


def _luma(pixels: Array) -> Array:
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.tensordot(weights, pixels, 1)[None] / 255

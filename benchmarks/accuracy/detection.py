"""Detectors: the boxes that outputs mean, and how alike two models' boxes are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from benchmarks.accuracy.tasks import Array, Figure, Outputs

SAME_OBJECT = 0.5
"""The overlap from which on two boxes are of one object."""
LEAST_SCORE = 0.05
"""Boxes of less score are left out of precision and recall altogether."""


@dataclass(frozen=True)
class Boxes:
    """What was found in one image, best first."""

    corners: Array
    """float [boxes, 4]: left, top, right, bottom, in parts of the image."""
    scores: Array
    classes: Array

    def above(self, score: float) -> "Boxes":
        """Those of at least this score."""
        chosen = self.scores >= score
        return Boxes(self.corners[chosen], self.scores[chosen], self.classes[chosen])

    def mirrored(self) -> "Boxes":
        """Those of the image whose left is right."""
        left, top, right, bottom = self.corners.T
        corners = np.stack([1 - right, top, 1 - left, bottom], axis=1)
        return Boxes(corners, self.scores, self.classes)


Decoder: TypeAlias = Callable[[Outputs], list[Boxes]]
"""The boxes of every image, after non-maximum suppression, down to `LEAST_SCORE`."""


def fastestdet(outputs: Outputs) -> list[Boxes]:
    """FastestDet: channels are objectness, four of the box, and the classes' probabilities.

    The decoding is that of its authors: https://github.com/dog-qiuqiu/FastestDet.
    """
    found = []
    for output in outputs[0].astype(np.float64):
        _, height, width = output.shape
        rows, columns = np.mgrid[:height, :width]
        scores = np.maximum(output[0], 0) ** 0.6 * np.maximum(output[5:].max(axis=0), 0) ** 0.4
        centres = [(columns + np.tanh(output[1])) / width, (rows + np.tanh(output[2])) / height]
        sizes = 1 / (1 + np.exp(-output[3:5]))
        found.append(_suppressed(centres, sizes, scores, output[5:].argmax(axis=0), 0.45))
    return found


def yunet(outputs: Outputs) -> list[Boxes]:
    """YuNet, as OpenCV's FaceDetectorYN decodes it: a class, objectness and box for each stride."""
    found = []
    kinds = outputs[0:3], outputs[3:6], outputs[6:9]  # of three strides each
    for image in range(len(outputs[0])):
        centres, sizes, scores = [], [], []
        for cls, obj, box in zip(*kinds, strict=True):
            side = int(np.sqrt(cls.shape[1]))
            rows, columns = np.mgrid[:side, :side].reshape(2, -1) / side
            both = cls[image, :, 0].clip(0, 1) * obj[image, :, 0].clip(0, 1)
            scores.append(np.sqrt(both.astype(np.float64)))
            centres.append(np.stack([columns, rows]) + box[image, :, :2].T / side)
            sizes.append(np.exp(box[image, :, 2:].T.astype(np.float64)) / side)
        every = np.concatenate(scores)
        classes = np.zeros(len(every), np.int64)
        middle, size = (np.concatenate(parts, axis=1) for parts in (centres, sizes))
        found.append(_suppressed(middle, size, every, classes, 0.3))
    return found


def _suppressed(
    centres: Array | Sequence[Array],
    sizes: Array,
    scores: Array,
    classes: Array,
    most_overlap: float,
) -> Boxes:
    """Boxes without those that overlap a better one of their class by more than that."""
    middle, size = np.reshape(centres, (2, -1)).T, np.reshape(sizes, (2, -1)).T
    corners = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
    scores, classes = scores.ravel(), classes.ravel()
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= LEAST_SCORE]
    kept: list[int] = []
    for i in order:
        rivals = [k for k in kept if classes[k] == classes[i]]
        if not rivals or overlaps(corners[i], corners[rivals]).max() <= most_overlap:
            kept.append(i)
    return Boxes(corners[kept], scores[kept], classes[kept])


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of a box with each of the others."""
    first, last = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(last - first, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    result: Array = common / np.maximum(areas - common, 1e-12)
    return result


def matched(found: Boxes, wanted: Boxes) -> Array:
    """Which of the found boxes are of an object that is wanted and not found by a better box."""
    free = np.ones(len(wanted.scores), bool)
    hits = np.zeros(len(found.scores), bool)
    for i, (box, kind) in enumerate(zip(found.corners, found.classes, strict=True)):
        same = np.flatnonzero(free & (wanted.classes == kind))
        if same.size:
            shares = overlaps(box, wanted.corners[same])
            if shares.max() >= SAME_OBJECT:
                hits[i] = True
                free[same[shares.argmax()]] = False
    return hits


def f1(found: Sequence[Boxes], wanted: Sequence[Boxes]) -> float:
    """The harmonic mean of precision and recall, in percent."""
    hits = sum(int(matched(*pair).sum()) for pair in zip(found, wanted, strict=True))
    boxes = sum(len(one.scores) for one in (*found, *wanted))
    return 200 * hits / boxes if boxes else 100.0


def average_precision(found: Sequence[Boxes], wanted: Sequence[Boxes]) -> float:
    """The area under precision over recall, of the boxes of all classes together, in percent."""
    scores = np.concatenate([one.scores for one in found])
    hits = np.concatenate([matched(*pair) for pair in zip(found, wanted, strict=True)])
    total = sum(len(one.scores) for one in wanted)
    if not total:
        return 100.0
    hits = hits[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best_behind = np.maximum.accumulate(precision[::-1])[::-1]
    return 100 * float(best_behind[hits].sum()) / total


def box_figures(decode: Decoder, threshold: float, mirrored: Callable[[], Outputs]) -> list[Figure]:
    """How well a model finds what the float model finds with at least the score `threshold`.

    `mirrored` gives the float model's outputs for the mirrored images. What it finds there stands
    for the labels that are missing: the float model has to find it again, like everybody else.
    """

    def strong(outputs: Outputs) -> list[Boxes]:
        return [boxes.above(threshold) for boxes in decode(outputs)]

    labels = cache(lambda: [boxes.mirrored() for boxes in strong(mirrored())])
    return [
        Figure(
            "AP50 %",
            lambda outputs, _: average_precision(decode(outputs), labels()),
            allowed=1,
            absolute=True,
        ),
        Figure(
            "AP50 % of float's boxes",
            lambda outputs, reference: average_precision(decode(outputs), strong(reference)),
        ),
        Figure(
            "F1 % with float's boxes",
            lambda outputs, reference: f1(strong(outputs), strong(reference)),
        ),
    ]

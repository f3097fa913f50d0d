"""Boxes of detectors, and how alike two models' boxes are (benchmarks.accuracy.detection)."""

import numpy as np
import pytest

from benchmarks.accuracy.detection import (
    Boxes,
    average_precision,
    box_figures,
    f1,
    fastestdet,
    matched,
    overlaps,
    yunet,
)
from benchmarks.accuracy.tasks import Outputs


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    """Each a row of left, top, right, bottom, score and class."""
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(int))


ONE, OTHER = (0, 0, 10, 10), (50, 50, 60, 60)


def test_overlap_is_intersection_over_union() -> None:
    others = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    assert overlaps(np.array([0.0, 0, 10, 10]), others).tolist() == pytest.approx([1, 1 / 3, 0])


def test_an_object_is_found_once_and_by_its_class() -> None:
    found = boxes((*ONE, 0.9, 0), (*ONE, 0.8, 0), (*OTHER, 0.7, 1))
    wanted = boxes((*ONE, 1, 0), (*OTHER, 1, 0))
    assert matched(found, wanted).tolist() == [True, False, False]


def test_f1_counts_what_is_missed_and_what_is_too_much() -> None:
    found, wanted = boxes((*ONE, 0.9, 0), (*OTHER, 0.9, 0)), boxes((*ONE, 1, 0))
    assert f1([found], [wanted]) == f1([wanted], [found]) == pytest.approx(200 / 3)
    assert f1([boxes()], [boxes()]) == 100


def test_average_precision_depends_on_the_order_of_scores() -> None:
    wanted = [boxes((*ONE, 1, 0))]
    assert average_precision([boxes((*ONE, 0.9, 0), (*OTHER, 0.8, 0))], wanted) == 100
    assert average_precision([boxes((*OTHER, 0.9, 0), (*ONE, 0.8, 0))], wanted) == 50
    assert average_precision([boxes((*OTHER, 0.9, 0))], wanted) == 0


def fastestdet_output() -> Outputs:
    """One box of class 3 in the cell of row 1 and column 2, of a 4 x 4 map."""
    output = np.zeros((1, 8, 4, 4), np.float32)
    output[0, 0, 1, 2] = 0.9
    output[0, 1:5, 1, 2] = [np.arctanh(0.5), np.arctanh(0.5), 0, 0]
    output[0, 5:, 1, 2] = [0.1, 0.1, 0.8]
    return [output]


def test_fastestdet_boxes_are_parts_of_the_image() -> None:
    (found,) = fastestdet(fastestdet_output())
    assert found.corners.tolist() == [pytest.approx([0.375, 0.125, 0.875, 0.625])]
    assert found.scores.tolist() == [pytest.approx(0.9**0.6 * 0.8**0.4)]
    assert found.classes.tolist() == [2]


def test_worse_box_of_the_same_object_is_left_out() -> None:
    output = fastestdet_output()
    output[0][0, :, 1, 1] = output[0][0, :, 1, 2]
    output[0][0, 1, 1, 1] = np.arctanh(0.99)
    output[0][0, 0, 1, 1] = 0.8
    (found,) = fastestdet(output)
    assert found.scores.tolist() == [pytest.approx(0.9**0.6 * 0.8**0.4)]


def test_yunet_boxes_are_parts_of_the_image() -> None:
    cells = {8: 64, 16: 16, 32: 4}
    outputs = [
        np.zeros((1, count, width), np.float32) for width in (1, 1, 4) for count in cells.values()
    ]
    outputs[1][0, 5], outputs[4][0, 5] = 0.9, 0.4  # stride 16, row 1, column 1
    outputs[7][0, 5] = [0.5, 0.25, np.log(2), np.log(1)]
    (found,) = yunet(outputs)
    assert found.corners.tolist() == [pytest.approx([8 / 64, 12 / 64, 40 / 64, 28 / 64])]
    assert found.scores.tolist() == [pytest.approx(0.6)]


def test_mirrored_boxes_are_those_of_the_mirrored_image() -> None:
    (found,) = fastestdet(fastestdet_output())
    assert found.mirrored().corners.tolist() == [pytest.approx([0.125, 0.125, 0.625, 0.625])]


def test_a_model_finds_all_that_it_finds() -> None:
    output = fastestdet_output()
    for figure in box_figures(fastestdet, 0.5, list)[1:]:
        assert figure.score(output, output) == 100
        assert figure.score([np.zeros_like(output[0])], output) == 0


def test_what_is_found_in_the_mirror_stands_for_labels() -> None:
    output = fastestdet_output()
    mirrored = np.zeros_like(output[0])
    mirrored[0, :, 1, 1] = output[0][0, :, 1, 2]  # centre 2.5 of 4 becomes 1.5
    figure = box_figures(fastestdet, 0.5, lambda: [mirrored])[0]
    assert figure.score(output, []) == 100
    assert figure.score([mirrored], []) == 0
    assert figure.absolute

"""The networks that are built to be hard are sensible, and hard for the reason that they tell."""

from functools import cache

import numpy as np
import onnx
import pytest

from benchmarks.accuracy.hard_cases import hard_tasks
from benchmarks.accuracy.measure import run
from benchmarks.accuracy.tasks import Array, Task

TASKS = {task.name: task for task in hard_tasks(count=20, calibration=10)}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


@cache
def convolutions(name: str) -> dict[str, Array]:
    """What each convolution computes of the test's images."""
    model = onnx.ModelProto()
    model.CopyFrom(TASKS[name].model())
    outputs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=output) for output in outputs)
    return dict(zip(outputs, run(model, TASKS[name].test()), strict=True))


def sizes(values: Array) -> Array:
    """The deviation of each channel."""
    found: Array = values.std(axis=(0, *range(2, values.ndim)))
    return found


@every_task
def test_activations_neither_die_nor_explode(task: Task) -> None:
    for name, values in convolutions(task.name).items():
        assert 0.1 < sizes(values).max() < 50, name
        assert np.mean(sizes(values) < 1e-3) < 0.1, name
        assert np.abs(values).max() < 1000, name


@every_task
def test_outputs_tell_images_apart(task: Task) -> None:
    for part in task.parts(run(task.model(), task.test())):
        assert np.median(part.std(axis=0)) > 0.05 * np.median(np.abs(part))


@every_task
def test_images_to_calibrate_on_are_other_ones(task: Task) -> None:
    calibration = {feed["images"].tobytes() for feed in task.calibration()}
    assert not any(feed["images"].tobytes() in calibration for feed in task.test())


def test_weights_are_the_same_every_time() -> None:
    name = "SiLU, squeeze and excitation"
    again = next(task for task in hard_tasks() if task.name == name)
    assert again.model() == TASKS[name].model()


@pytest.mark.parametrize("name", list(TASKS)[:2])
def test_depthwise_channels_are_apart_by_1000(name: str) -> None:
    for value, values in list(convolutions(name).items())[:-1]:
        assert np.ptp(np.log10(sizes(values))) == pytest.approx(3, abs=0.5), value


def test_most_limited_values_are_below_the_limit() -> None:
    values = list(convolutions("The same with Relu6").values())[:-1]
    limited = [np.mean(value > 6) for value in values]
    assert 0.001 < np.mean(limited) < 0.05
    assert min(limited) > 0


@pytest.mark.parametrize("name", ["SiLU, squeeze and excitation", "HardSwish, MobileNetV3"])
def test_some_channels_are_rarely_above_zero(name: str) -> None:
    values = next(iter(convolutions(name).values()))
    rare = values.mean(axis=(0, 2, 3)) < -30
    assert np.sum(rare) == round(0.08 * len(rare))
    assert 0 < np.mean(values[:, rare] > 0) < 0.001


@pytest.mark.parametrize("name", list(TASKS)[-2:])
def test_boxes_are_larger_than_scores_by_far(name: str) -> None:
    boxes, scores = TASKS[name].parts(run(TASKS[name].model(), TASKS[name].test()))
    assert boxes.max() > 300
    assert 0.5 < scores.max() <= 1
    assert np.median(scores) < 0.15

"""What `quantize_model` makes of trained models and of hard ones, as benchmarks.accuracy judges it.

The demands are those that it meets on few images, with a margin; docs/quantization.md has figures
from many.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import onnx
import pytest

from benchmarks.accuracy import pictures
from benchmarks.accuracy.hard_cases import hard_tasks
from benchmarks.accuracy.measure import check, claims, run
from benchmarks.accuracy.quantizers import PLAIN
from benchmarks.accuracy.suite import real_tasks
from benchmarks.accuracy.tasks import Task, decibels, noise
from furiosa_ep.quantization import quantize_model

TEST = 64


@dataclass(frozen=True)
class Demand:
    """What a task demands of the default preset, on few images."""

    decibels: float
    """Signal to noise of the outputs."""
    scores: Mapping[str, float]
    """The least of each figure."""
    on_cpu: frozenset[str] = frozenset()
    """Operators that may stay in float: what joins the outputs."""
    calibration: int = 100
    """Images to calibrate on."""


DEMANDS = {
    "CIFAR-10 ResNet8": Demand(30, {"top-1 %": 90}),
    "CIFAR-10 ResNet20": Demand(24, {"top-1 %": 84}, calibration=32),
    "VWW MobileNet": Demand(25, {"top-1 %": 70}),
    "MNIST": Demand(33, {"top-1 %": 98}),
    "MNIST MLP": Demand(25, {"top-1 %": 98}),
    "EfficientNet-Lite0": Demand(22, {"same class as float %": 93}),
    "Super-resolution": Demand(38, {"PSNR to float, dB": 44}, calibration=16),
    "FastestDet": Demand(12.5, {"F1 % with float's boxes": 88}, frozenset({"Concat"}), 16),
    "YuNet, faces": Demand(10, {"AP50 % of float's boxes": 95}, calibration=16),
}

TRAINED = {task.name.rsplit(",", 1)[0]: task for task in real_tasks(TEST)}
HARD = {task.name: task for task in hard_tasks(TEST, calibration=64)}
JOINED = frozenset({"Concat", "Reshape"})


@pytest.fixture(autouse=True)
def same_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of ../shared, whatever else is installed."""
    monkeypatch.setattr(pictures, "PACKAGES", {})


needs_shared = pytest.mark.skipif(not TRAINED, reason="needs ../shared/models")


@needs_shared
def test_every_trained_model_has_a_demand() -> None:
    assert set(TRAINED) == set(DEMANDS)


@needs_shared
@pytest.mark.parametrize("name", DEMANDS)
def test_trained_model_keeps_its_accuracy_in_one_partition_with_the_same_bits(name: str) -> None:
    task, demand = TRAINED[name], DEMANDS[name]
    samples = list(islice(task.calibration(), demand.calibration))
    quantized = quantize_model(task.model(), samples)
    outputs, reference = (run(model, task.test()) for model in (quantized, task.model()))
    found = {figure.name: figure.score(outputs, reference) for figure in task.figures}
    assert decibels(noise(task, outputs, reference)) > demand.decibels
    assert {key: found[key] for key in demand.scores if found[key] < demand.scores[key]} == {}
    is_one_partition_with_the_same_bits(quantized, task, demand.on_cpu)


def is_one_partition_with_the_same_bits(
    quantized: onnx.ModelProto, task: Task, allowed: frozenset[str]
) -> None:
    partitions, on_cpu = claims(quantized)
    assert {node.split()[0] for node in on_cpu} <= allowed, on_cpu
    assert partitions == 1
    assert check(quantized, islice(task.test(), 2)) == ""


def loss(task: Task, quantized: onnx.ModelProto) -> float:
    return noise(task, run(quantized, task.test()), run(task.model(), task.test()))


@pytest.mark.parametrize("name", HARD)
def test_hard_case_loses_far_less_than_with_min_max(name: str) -> None:
    task = HARD[name]
    own, plain = (quantize_model(task.model(), task.calibration(), p) for p in ("default", PLAIN))
    is_one_partition_with_the_same_bits(own, task, JOINED)
    if len(task.parts(run(task.model(), task.test()))) == 1:
        assert loss(task, own) < loss(task, plain) / 10
    else:  # our min-max gives boxes and scores a range each as well
        assert loss(task, own) < 0.01


@needs_shared
def test_the_best_preset_is_hardly_worse_than_the_default_one_on_other_samples() -> None:
    task = TRAINED["VWW MobileNet"]
    samples = list(task.calibration())
    best, default = (quantize_model(task.model(), samples, name) for name in ("best", "default"))
    assert loss(task, best) < loss(task, default) * 1.1

"""Measure quantized models: accuracy, what the NPU takes, and the same bits on both providers."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

import furiosa_ep
from benchmarks.accuracy.quantizers import Quantizer
from benchmarks.accuracy.tasks import Feed, Outputs, Task, decibels, noise
from furiosa_ep.comparison import differences

SAME_BITS = 3
"""Samples that both providers are compared on."""


@dataclass(frozen=True)
class Measured:
    """A quantized model, or the float model, on a task."""

    quantizer: str
    scores: dict[str, float]
    """By the figures' names; empty where the quantizer failed."""
    noise: float
    """Mean squared error relative to the float outputs' mean square."""
    seconds: float = 0
    """What quantization took, calibration included."""
    partitions: int | None = None
    """On the NPU; None where that was not looked at."""
    on_cpu: dict[str, str] = field(default_factory=dict)
    """Why nodes are on the CPU, by the nodes' names."""
    wrong: str = ""
    """What is wrong with it otherwise: the quantizer or the checker failed, or bits differ."""

    @property
    def snr(self) -> float:
        """Signal to noise of the outputs in dB."""
        return decibels(self.noise)


@dataclass(frozen=True)
class Row:
    """A task with what was measured on it; the float model comes first."""

    task: Task
    results: tuple[Measured, ...]

    def find(self, quantizer: str) -> Measured | None:
        """What was measured of that quantizer."""
        return next((result for result in self.results if result.quantizer == quantizer), None)


def measure(task: Task, quantizers: Mapping[str, Quantizer], folder: Path) -> Row:
    """The task's figures of the float model and of what the quantizers make of it.

    What ONNX Runtime makes is kept in `folder`: its quantizer takes long, and does not change.
    """
    reference = run(task.model(), task.test())
    results = [Measured("float", _scores(task, reference, reference), 0.0)]
    for name, quantizer in quantizers.items():
        try:
            results.append(_measured(task, name, quantizer, reference, folder))
        except Exception as error:  # quantizers raise what they like; the table tells
            results.append(Measured(name, {}, math.nan, wrong=f"{type(error).__name__}: {error}"))
    return Row(task, tuple(results))


def _scores(task: Task, outputs: Outputs, reference: Outputs) -> dict[str, float]:
    return {figure.name: figure.score(outputs, reference) for figure in task.figures}


def _measured(
    task: Task, name: str, quantizer: Quantizer, reference: Outputs, folder: Path
) -> Measured:
    start = time.perf_counter()
    make = partial(quantizer, task.model(), task.calibration())
    ours = not name.startswith("ORT ")
    model = make() if ours else _kept(task, name, make, folder)
    seconds = time.perf_counter() - start
    outputs = run(model, task.test())
    scores, lost = _scores(task, outputs, reference), noise(task, outputs, reference)
    if not ours:
        return Measured(name, scores, lost, seconds)
    wrong = check(model, islice(task.test(), SAME_BITS))
    return Measured(name, scores, lost, seconds, *claims(model), wrong)


def _kept(
    task: Task, name: str, make: Callable[[], onnx.ModelProto], folder: Path
) -> onnx.ModelProto:
    digest = hashlib.sha256(f"{ort.__version__} {name}".encode())
    digest.update(task.model().SerializeToString(deterministic=True))
    for feed in task.calibration():
        for array in feed.values():
            digest.update(np.ascontiguousarray(array).data)
    path = folder / f"{digest.hexdigest()[:24]}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make().SerializeToString())
    return onnx.load(path)


def run(model: onnx.ModelProto, feeds: Iterable[Feed]) -> Outputs:
    """The outputs of ONNX Runtime's CPU provider for all samples."""
    session = _session(model, "CPUExecutionProvider")
    found = [session.run(None, feed) for feed in feeds]
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def claims(model: onnx.ModelProto) -> tuple[int, dict[str, str]]:
    """How many partitions of a model are on the NPU, and why nodes are on the CPU, by their names.

    QuantizeLinear and DequantizeLinear are left out: they go where their neighbours go.
    """
    report = furiosa_ep.explain(model)
    left = {
        f"{row.op_type} {row.name}": row.code
        for row in report.rows
        if row.partition is None and row.op_type not in ("QuantizeLinear", "DequantizeLinear")
    }
    return len(report.partitions), left


def check(model: onnx.ModelProto, feeds: Iterable[Feed]) -> str:
    """What is wrong with a model: invalid, or other bits on the NPU than on the CPU. "" if none."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # it raises different classes from version to version
        return f"onnx.checker: {error}"
    cpu, npu = _session(model, "CPUExecutionProvider"), _session(model, "FuriosaProvider")
    names = [output.name for output in cpu.get_outputs()]
    for number, feed in enumerate(feeds):
        if found := differences(names, cpu.run(None, feed), npu.run(None, feed)):
            return f"sample {number}: {found[0]}"
    return ""


def _session(model: onnx.ModelProto, provider: str) -> ort.InferenceSession:
    furiosa_ep.register()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    npu = [("FuriosaProvider", {"summary": "off"})] if provider == "FuriosaProvider" else []
    return ort.InferenceSession(
        model.SerializeToString(),
        options,
        providers=[*npu, "CPUExecutionProvider"],
        enable_fallback=0,
    )

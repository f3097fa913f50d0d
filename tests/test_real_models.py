"""Trained models, quantized in the plainest way, give the CPU provider's bits."""

from dataclasses import replace
from functools import cache
from typing import Literal

import onnxruntime as ort
import pytest

import furiosa_ep
from furiosa_ep.device_emulator import run_reference
from furiosa_ep.program import Program
from furiosa_ep.quantization import PRESETS, quantize_model
from tests.programs import captured_programs, difference_from_reference
from tests.random_graphs import difference
from tests.real_models import RealModel, real_models

MODELS = real_models()
pytestmark = pytest.mark.skipif(not MODELS, reason="needs ../shared/models")
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
SAMPLES = 20


@cache
def quantized(model: RealModel, activation: Literal["uint8", "int8"] = "uint8") -> bytes:
    """The model quantized on samples that the tests do not use."""
    preset = replace(PRESETS["min-max"], activation=activation)
    proto = quantize_model(model.path, model.samples(8, first=100), preset)
    return bytes(proto.SerializeToString())


def session(model: bytes, *providers: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(
        model, options, providers=[*providers, "CPUExecutionProvider"], enable_fallback=0
    )


@every_model
def test_uint8_model_equals_the_cpu_provider_on_every_bit(model: RealModel) -> None:
    furiosa_ep.register()
    cpu, npu = session(quantized(model)), session(quantized(model), "FuriosaProvider")
    for number, sample in enumerate(model.samples(SAMPLES)):
        found = difference(cpu.run(None, sample), npu.run(None, sample))
        assert found is None, f"sample {number}: {found}"


@every_model
def test_int8_model_equals_the_numpy_reference_on_every_bit(
    model: RealModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    furiosa_ep.register()
    programs = captured_programs(monkeypatch)
    npu = session(quantized(model, "int8"), "FuriosaProvider")
    names = [output.name for output in npu.get_outputs()]
    for sample in model.samples(2):
        outputs = dict(zip(names, npu.run(None, sample), strict=True))
    assert programs
    for program in programs:
        found = difference_from_reference(program)
        assert found is None, found
        parsed = Program.from_bytes(program)
        if set(sample) == {b.name for b in parsed.inputs} and set(names) == {
            b.name for b in parsed.outputs
        }:
            expected = run_reference(parsed, [sample[binding.name] for binding in parsed.inputs])
            found = difference(expected, [outputs[binding.name] for binding in parsed.outputs])
            assert found is None, found


@every_model
def test_quantized_node_units_are_claimed(model: RealModel) -> None:
    furiosa_ep.register()
    report = furiosa_ep.explain(quantized(model))
    assert report.quantized_share >= 0.95, report.table()
    if model.classifier:
        assert len(report.partitions) == 1, report.table()
    assert all(row.reason for row in report.rows if row.provider != "FuriosaProvider")

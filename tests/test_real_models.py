"""Trained models, quantized as ONNX Runtime does it, give the CPU provider's bits."""

from functools import cache

import onnxruntime as ort
import pytest

import furiosa_ep
from furiosa_ep.quantization import quantize_model
from tests.random_graphs import difference
from tests.real_models import RealModel, real_models

MODELS = real_models()
pytestmark = pytest.mark.skipif(not MODELS, reason="needs ../shared/models")
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
SAMPLES = 20


@cache
def quantized(model: RealModel, preset: str = "default") -> bytes:
    """The model quantized on samples that the tests do not use."""
    return quantize_model(model.path, model.samples(8, first=100), preset).SerializeToString()


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
def test_quantized_node_units_are_claimed(model: RealModel) -> None:
    furiosa_ep.register()
    report = furiosa_ep.explain(quantized(model))
    assert report.quantized_share >= 0.95, report.table()
    if model.classifier:
        assert len(report.partitions) == 1, report.table()
    assert all(row.reason for row in report.rows if row.provider != "FuriosaProvider")

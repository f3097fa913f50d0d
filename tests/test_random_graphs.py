"""Random QDQ models give the CPU provider's bits; `python -m tests.random_graphs` runs many more."""

import onnxruntime as ort
import pytest

import furiosa_ep
from tests.random_graphs import difference, operators, random_model

BATCH = 25


@pytest.mark.parametrize("first", range(0, 400, BATCH))
def test_random_models_equal_the_cpu_provider(first: int) -> None:
    furiosa_ep.register()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    for seed in range(first, first + BATCH):
        model, feeds = random_model(seed)
        data = model.SerializeToString()
        cpu = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        npu = ort.InferenceSession(
            data, options, providers=["FuriosaProvider", "CPUExecutionProvider"]
        )
        found = difference(cpu.run(None, feeds), npu.run(None, feeds))
        assert found is None, f"seed {seed}: {found} in {' '.join(sorted(set(operators(model))))}"

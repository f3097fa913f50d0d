"""The ONNX backend node tests: what runs on the CPU provider alone runs with ours before it."""

import warnings
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx.backend.test.loader import load_model_tests

import furiosa_ep

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    CASES = load_model_tests(kind="node")


def _outputs(case: Any, inputs: list[Any], providers: list[str]) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(case.model.SerializeToString(), options, providers=providers)
    names = [value.name for value in session.get_inputs()]
    return list(session.run(None, dict(zip(names, inputs, strict=True))))


def _same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(map(_same, expected, actual))
    if not isinstance(expected, np.ndarray):
        return bool(expected == actual)
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return False
    return bool(((expected == actual) | ((expected != expected) & (actual != actual))).all())


def _is_random(case: Any) -> bool:
    kinds = {"Bernoulli", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"}
    dropout = any(node.op_type == "Dropout" for node in case.model.graph.node)
    return dropout or any(node.op_type in kinds for node in case.model.graph.node)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_backend_node_test_gives_the_same_with_the_provider(case: Any) -> None:
    furiosa_ep.register()
    for inputs, _ in case.data_sets:
        try:
            expected = _outputs(case, inputs, ["CPUExecutionProvider"])
        except Exception as error:
            pytest.skip(f"does not run on the CPU provider alone: {str(error)[:80]}")
        actual = _outputs(case, inputs, ["FuriosaProvider", "CPUExecutionProvider"])
        if not _is_random(case):
            assert _same(expected, actual)

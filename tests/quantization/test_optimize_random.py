"""Random models keep their function through all rewrites, and through each alone."""

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from furiosa_ep.quantization.optimize import REWRITES, optimize, pipeline
from furiosa_ep.quantization.optimize.equality import reference
from tests.quantization.optimizing import apply, assert_same_function, counts
from tests.quantization.random_float_models import random_model

TOLERANCE = 1e-4
"""Rows of random layers cancel out at times."""

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
models = st.builds(random_model, st.integers(0, 2**32), st.integers(1, 16))


@some
@given(models)
def test_all_rewrites_together(model: onnx.ModelProto) -> None:
    after = optimize(model, check=False)
    assert_same_function(model, after, tolerance=TOLERANCE)
    onnx.checker.check_model(after, full_check=True)
    assert optimize(after, check=False) == after
    assert [value.name for value in after.graph.output] == [v.name for v in model.graph.output]
    assert len(after.graph.node) <= len(model.graph.node) + 4 * counts(model)["Pad"]


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.__name__)
@settings(some, max_examples=15)
@given(model=models)
def test_each_rewrite(rewrite: pipeline.Rewrite, model: onnx.ModelProto) -> None:
    apply(rewrite, model)


@settings(some, max_examples=20)
@given(models)
def test_the_check_agrees(model: onnx.ModelProto) -> None:
    found = reference(model)
    assert found is not None
    assert found.difference(model) is None
    assert found.difference(optimize(model, check=False)) is None


def test_random_models_are_rewritten_at_all() -> None:
    """Each rewrite finds something in some of them."""
    found = set()
    for seed in range(60):
        for rewrite in REWRITES:
            from tests.quantization.optimizing import standard

            model = standard(random_model(seed, 12))
            if rewrite(model) is not model:
                found.add(rewrite.__name__)
    expected = {rewrite.__name__ for rewrite in REWRITES} - {"unflatten_softmax", "join_casts"}
    assert found >= expected

"""How `optimize` checks that the model computes the same."""

import logging

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from furiosa_ep.quantization import QuantizationError
from furiosa_ep.quantization.optimize import REWRITES, equality, optimize, pipeline
from tests.quantization.optimizing import network, parse, standard


def wrong(model: onnx.ModelProto) -> onnx.ModelProto:
    """A rewrite that makes Relu of Clip."""
    after = onnx.ModelProto()
    after.CopyFrom(model)
    nodes = [node for node in after.graph.node if node.op_type == "Clip"]
    for node in nodes:
        node.op_type = "Relu"
        del node.input[1:]
    return after if nodes else model


def invalid(model: onnx.ModelProto) -> onnx.ModelProto:
    """A rewrite that reads a value that is not there."""
    if model.graph.node[0].input[0] == "nowhere":
        return model
    after = onnx.ModelProto()
    after.CopyFrom(model)
    after.graph.node[0].input[0] = "nowhere"
    return after


@pytest.mark.parametrize("bad", [wrong, invalid])
def test_a_rewrite_that_changes_the_model_is_named_and_left_out(
    bad: pipeline.Rewrite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    model.graph.initializer[7].CopyFrom(numpy_helper.from_array(np.array(0.5, np.float32), "six"))
    expected = optimize(model)
    monkeypatch.setattr(pipeline, "REWRITES", (*REWRITES[:5], bad, *REWRITES[5:]))
    after = optimize(model)
    assert after == expected
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{bad.__name__} changes the model and is left out" in record.getMessage()
    assert optimize(model, check=False) != expected


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("(float[N,8,48,W] x) => (float y) { y = Reshape(x, k) }", {"k": np.array([-1, 11])}),
        ("(string[2] x) => (string[2] y) { y = Identity(x) }", {}),
    ],
)
def test_a_model_without_inputs_to_try_is_not_checked(
    body: str, constants: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    optimize(parse(body, **constants))
    assert "not checked" in caplog.text


@pytest.mark.parametrize(("length", "found"), [(1, True), (64, True), (2048, True), (7, False)])
def test_lengths_of_open_dims_are_tried(
    length: int, found: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A Reshape that only some lengths fit: they are found, or the warning says so."""
    model = parse(
        "(float[N,1,H,W] x) => (float y) { i = Identity(x) y = Reshape(i, k) }",
        k=np.array([1, length]),
    )
    optimize(model)
    assert ("not checked" in caplog.text) == (not found)


def test_no_second_run_follows_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = equality.reference(standard(network()))
    assert found is not None
    assert len(found.feeds) == 2
    monkeypatch.setattr(equality, "LONG_RUN", 0.0)
    found = equality.reference(standard(network()))
    assert found is not None
    assert len(found.feeds) == 1


def test_the_conversion_of_the_opset_is_checked_too() -> None:
    """ONNX's converter leaves Hardmax as it is, which opset 13 changed."""
    model = parse("(float[2,3,4] x) => (float[2,3,4] y) { y = Hardmax<axis=1>(x) }", 11)
    with pytest.raises(QuantizationError, match=r"from opset 11 to 13 changes the model.*'y'"):
        optimize(model)

"""The models that speed is measured on have the published layers."""

from collections import Counter

import onnx
import pytest
from onnx import numpy_helper

from benchmarks.models import TOPOLOGIES


def parameters(model: onnx.ModelProto) -> int:
    arrays = (numpy_helper.to_array(value) for value in model.graph.initializer)
    return sum(array.size for array in arrays if array.ndim in (1, 2, 4) and array.dtype == "f4")


@pytest.mark.parametrize(
    ("name", "convolutions", "millions"),
    [("resnet50", 53, 25.5), ("mobilenet_v2", 52, 3.5), ("yolov8n", 64, 3.15)],
)
def test_layers_and_parameters_are_the_published_ones(
    name: str, convolutions: int, millions: float
) -> None:
    model = TOPOLOGIES[name]()
    assert Counter(node.op_type for node in model.graph.node)["Conv"] == convolutions
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.01)


def test_weights_are_the_same_every_time() -> None:
    assert TOPOLOGIES["mobilenet_v2"]() == TOPOLOGIES["mobilenet_v2"]()

"""The models that speed is measured on have the published layers."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import TOPOLOGIES, macs, ocr

needs_ocr = pytest.mark.skipif(
    find_spec("rapidocr_onnxruntime") is None, reason="needs rapidocr-onnxruntime"
)
EVERY = [
    pytest.param(name, marks=[needs_ocr] if name.startswith("ppocr") else []) for name in TOPOLOGIES
]

MACS = {
    "resnet50": 4_089_184_256,
    "mobilenet_v2": 300_774_272,
    "efficientnet_lite0": 385_187_552,
    "efficientnet_b0": 385_814_752,
    "ssd_mobilenet_v1": 1_237_129_408,
    "yolov5s": 8_216_780_800,
    "yolov8n": 4_371_993_600,
    # Convolutions, and the two ConvTransposes that double the map at its end.
    "ppocr_det": 2_233_122_944 + (24 * 160 * 160 * 24 + 24 * 320 * 320 * 1) * 4,
    "ppocr_cls": 16_315_376,
}

Shape = list[int]


@cache
def topology(name: str) -> onnx.ModelProto:
    return TOPOLOGIES[name]()


def output_shapes(model: onnx.ModelProto) -> list[Shape]:
    shapes = (output.type.tensor_type.shape for output in model.graph.output)
    return [[dim.dim_value for dim in shape.dim] for shape in shapes]


def parameters(model: onnx.ModelProto) -> int:
    """Of convolutions and fully connected layers."""
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    names = {name for layer in layers for name in layer.input[1:]}
    arrays = (numpy_helper.to_array(x) for x in model.graph.initializer if x.name in names)
    return sum(array.size for array in arrays)


@pytest.mark.parametrize(
    ("name", "convolutions", "millions"),
    [
        ("resnet50", 53, 25.5),
        ("mobilenet_v2", 52, 3.5),
        ("efficientnet_lite0", 49, 4.65),
        ("efficientnet_b0", 81, 5.29),
        ("ssd_mobilenet_v1", 47, 6.81),
        ("yolov5s", 60, 7.23),
        ("yolov8n", 64, 3.15),
    ],
)
def test_layers_and_parameters_are_the_published_ones(
    name: str, convolutions: int, millions: float
) -> None:
    model = topology(name)
    assert Counter(node.op_type for node in model.graph.node)["Conv"] == convolutions
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("name", EVERY)
def test_multiplications_are_the_published_ones(name: str) -> None:
    assert macs(topology(name)) == MACS[name]


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("mobilenet_v2", [[8, 1000]]),
        ("efficientnet_b0", [[8, 1000]]),
        ("ssd_mobilenet_v1", [[8, 1917, 4], [8, 1917, 91]]),
        ("yolov5s", [[8, 25200, 85]]),
        ("yolov8n", [[8, 84, 8400]]),
    ],
)
def test_batch_is_the_first_dimension_of_every_output(name: str, shapes: list[Shape]) -> None:
    model = TOPOLOGIES[name](batch=8)
    assert output_shapes(model) == shapes
    assert macs(model) == 8 * MACS[name]


@needs_ocr
@pytest.mark.parametrize(("name", "shape"), [("ppocr_det", [1, 640, 640]), ("ppocr_cls", [2])])
def test_trained_models_get_a_batch(name: str, shape: Shape) -> None:
    assert output_shapes(TOPOLOGIES[name](batch=8)) == [[8, *shape]]


@pytest.mark.parametrize("name", ["efficientnet_b0", "ssd_mobilenet_v1", "yolov5s"])
def test_activations_keep_their_range(name: str) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(topology(name))
    convolutions = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in convolutions)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    pixels = np.random.default_rng(0).standard_normal(image.shape, np.float32)
    for value, array in zip(convolutions, session.run(None, {image.name: pixels}), strict=True):
        assert 0.1 < np.std(array) < 10, value


def test_sizes_of_filters_vary() -> None:
    filters = numpy_helper.to_array(topology("mobilenet_v2").graph.initializer[0])
    sizes = np.abs(filters).max(axis=(1, 2, 3))
    assert sizes.max() > 1.5 * sizes.min()


def test_weights_are_the_same_every_time() -> None:
    assert TOPOLOGIES["mobilenet_v2"]() == TOPOLOGIES["mobilenet_v2"]()


def test_missing_package_of_the_trained_models_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps rapidocr-onnxruntime"):
        TOPOLOGIES["ppocr_cls"]()


@pytest.mark.parametrize(
    ("op_type", "first", "second", "attributes", "expected"),
    [
        ("MatMul", [5, 2, 3], [3, 4], {}, 5 * 2 * 3 * 4),
        ("Gemm", [2, 3], [3, 4], {}, 2 * 3 * 4),
        ("Gemm", [3, 2], [4, 3], {"transA": 1, "transB": 1}, 2 * 3 * 4),
        ("Conv", [1, 6, 5, 7], [4, 3, 3, 3], {"group": 2}, 4 * 3 * 5 * 3 * 3 * 3),
        ("ConvTranspose", [1, 6, 5, 7], [6, 2, 2, 2], {"strides": [2, 2]}, 6 * 5 * 7 * 2 * 2 * 2),
        ("Add", [2, 3], [2, 3], {}, 0),
    ],
)
def test_macs_of_one_node(
    op_type: str, first: Shape, second: Shape, attributes: dict[str, int], expected: int
) -> None:
    assert macs(one_node(op_type, first, second, **attributes)) == expected


def test_macs_of_an_open_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="MatMul 'node': expected static shapes"):
        macs(one_node("MatMul", ["rows", 3], [3, 4]))


def one_node(
    op_type: str, first: Sequence[int | str], second: Shape, **attributes: Any
) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("first", first), ("second", second))
    ]
    node = helper.make_node(op_type, ["first", "second"], ["output"], "node", **attributes)
    output = onnx.ValueInfoProto(name="output")
    return helper.make_model(helper.make_graph([node], "one_node", inputs, [output]))

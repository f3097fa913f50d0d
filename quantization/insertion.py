"""QuantizeLinear and DequantizeLinear around each operator, by ONNX Runtime's QDQ quantizer."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx.shape_inference

from furiosa_ep.quantization.calibration import Range
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.presets import Preset

_FLOATS: Mapping[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
}


def quantized_values(model: onnx.ModelProto) -> list[str]:
    """The activations that may become 8-bit: what quantizable operators read and write."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found = {
        name: None
        for node in model.graph.node
        if node.op_type in _quantizable()
        for name in (*node.input, *node.output)
        if name not in constants
    }
    types = _types(model)
    return [name for name in found if types.get(name) in _FLOATS]


def insert_qdq(
    model: onnx.ModelProto, ranges: Mapping[str, Range], preset: Preset
) -> onnx.ModelProto:
    """The model as a QDQ model; its activations have these ranges.

    Raises:
        QuantizationError: where ONNX Runtime's quantizer fails.
    """
    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    activations = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    types = _types(model)
    data = {
        name: TensorData(
            lowest=low.astype(_FLOATS[types[name]]), highest=high.astype(_FLOATS[types[name]])
        )
        for name, (low, high) in ranges.items()
    }
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    add_pre_process_metadata(marked)  # for ONNX Runtime's other tools
    with tempfile.TemporaryDirectory(prefix="furiosa-ep-") as folder:
        target = Path(folder, "quantized.onnx")
        try:
            quantizer = QDQQuantizer(
                marked,
                per_channel=preset.per_channel,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=activations[preset.activation],
                tensors_range=TensorsData(CalibrationMethod.MinMax, data),
                nodes_to_quantize=[],
                nodes_to_exclude=[],
                op_types_to_quantize=list(_quantizable()),
                extra_options={},
            )
            quantizer.quantize_model()
            quantizer.model.save_model_to_file(target)
        except Exception as error:  # it raises different classes from version to version
            raise QuantizationError(f"ONNX Runtime's quantizer failed: {error}") from error
        return onnx.load_model(target)


def _quantizable() -> set[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return {*QDQRegistry, *QLinearOpsRegistry}


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of each value that has one, by name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.output, *graph.input)
    return {value.name: value.type.tensor_type.elem_type for value in values}

"""QuantizeLinear and DequantizeLinear around each operator, by ONNX Runtime's QDQ quantizer."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.presets import Preset
from furiosa_ep.quantization.ranges import Range

_FLOATS: Mapping[int, type[np.floating[Any]]] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
}


def quantized_values(model: onnx.ModelProto) -> list[str]:
    """The activations that may become 8-bit: what quantizable operators read and write.

    What only a Relu or a Clip reads is held in the range of the result, and has none of its own.
    """
    left_out = {tensor.name for tensor in model.graph.initializer} | _clipped(model.graph).keys()
    found = {
        name: None
        for node in model.graph.node
        if node.op_type in _quantizable()
        for name in (*node.input, *node.output)
        if name not in left_out
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
        name: TensorData(lowest=_FLOATS[types[name]](low), highest=_FLOATS[types[name]](high))
        for name, (low, high) in ranges.items()
    }
    for name, result in _clipped(model.graph).items():
        if result in data:
            data[name] = data[result]
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


def _clipped(graph: onnx.GraphProto) -> dict[str, str]:
    """The values that nothing but a Relu or a Clip reads, and its result."""
    read = Counter(name for node in graph.node for name in node.input)
    seen = {value.name for value in (*graph.input, *graph.output)}
    return {
        node.input[0]: node.output[0]
        for node in graph.node
        if node.op_type in ("Relu", "Clip")
        if read[node.input[0]] == 1 and node.input[0] not in seen
    }


def _quantizable() -> set[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return {*QDQRegistry, *QLinearOpsRegistry}


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of each value that has one, by name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.output, *graph.input)
    return {value.name: value.type.tensor_type.elem_type for value in values}

"""`quantize_model`: a float model and some data in, a QDQ model out."""

import logging

import onnx

from furiosa_ep.quantization.calibration import CalibrationData, calibrate, feeds, find_calibrator
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.insertion import insert_qdq, quantized_values
from furiosa_ep.quantization.loading import ModelLike
from furiosa_ep.quantization.optimize import optimize
from furiosa_ep.quantization.presets import Preset, find_preset

QUANTIZED_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"})


def quantize_model(
    model: ModelLike, data: CalibrationData, preset: str | Preset = "default"
) -> onnx.ModelProto:
    """Return `model` as a QDQ model: 8-bit activations, int8 weights, int32 biases.

    `model` is a path, the bytes of a model, or a ModelProto, which is left as it is; its opset is
    raised to 13 where it is lower. `data` yields samples of what the model will see, each an
    array (for a model of one input) or a dict from input name to array, in the input's dtype and
    shape; a CalibrationDataReader works too. `preset` is a name in `PRESETS` or a `Preset`:
    "default" is uint8 activations that reach from the smallest to the largest value seen, and int8
    weights per output channel.

    Raises `QuantizationError` for a model that cannot be read or is quantized already, for data
    that does not fit the inputs, for no data, and where a calibrator fails.
    """
    chosen = find_preset(preset)
    calibrator = find_calibrator(chosen.calibration)
    prepared = optimize(model)
    _refuse_quantized(prepared)
    samples = feeds(data, [value.name for value in prepared.graph.input])
    ranges = calibrate(prepared, quantized_values(prepared), samples, calibrator)
    quantized = insert_qdq(prepared, ranges, chosen)
    _restore_metadata(quantized, prepared)
    logging.getLogger(__name__).debug("quantized %d activations, %s", len(ranges), chosen)
    return quantized


def _refuse_quantized(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in QUANTIZED_OPS:
            raise QuantizationError(
                f"node {node.name or node.output[0]!r} is a {node.op_type}: the model is quantized "
                "already; give the float model that it was made from"
            )


def _restore_metadata(quantized: onnx.ModelProto, prepared: onnx.ModelProto) -> None:
    """Programs look for metadata (the character list of an OCR model), so it has to survive."""
    present = {entry.key for entry in quantized.metadata_props}
    quantized.metadata_props.extend(e for e in prepared.metadata_props if e.key not in present)

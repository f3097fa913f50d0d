"""Turn a float model into a QDQ model that the NPU takes.

`quantize_model` is the one call that most programs need. It prepares the model, finds the ranges of
its activations with a calibrator, built in or a plugin's, and leaves the insertion of
QuantizeLinear and DequantizeLinear to ONNX Runtime (``onnxruntime.quantization``).
"""

from furiosa_ep.quantization.calibration import CalibrationData
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.presets import PRESETS, Preset
from furiosa_ep.quantization.quantize import quantize_model

__all__ = ["PRESETS", "CalibrationData", "Preset", "QuantizationError", "quantize_model"]

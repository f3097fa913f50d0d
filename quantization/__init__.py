"""Turn a float model into a QDQ model that the NPU takes.

`quantize_model` is the one call that most programs need. Calibration and the insertion of
QuantizeLinear and DequantizeLinear are ONNX Runtime's own (``onnxruntime.quantization``); this
package prepares the model for them and accepts the data in the shapes that people have it.
"""

from furiosa_ep.quantization.calibration import CalibrationData
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.presets import PRESETS, Preset
from furiosa_ep.quantization.quantize import quantize_model

__all__ = ["PRESETS", "CalibrationData", "Preset", "QuantizationError", "quantize_model"]

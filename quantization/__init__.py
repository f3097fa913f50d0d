"""Turn a float model into a QDQ model that the NPU takes.

`quantize_model` is the one call that most programs need. It prepares the model, asks the
partitioner what the NPU takes, finds the ranges of activations with a calibrator, built in or a
plugin's, and inserts QuantizeLinear and DequantizeLinear. `calibrate` finds the ranges alone, to be
kept, edited and used again. `Calibrator`, `quantize` and `ModelEditor` are what programs that were
written for the Furiosa SDK know.
"""

from furiosa_ep.quantization.calibrators import percentile
from furiosa_ep.quantization.diagnosis import Diagnosis, diagnose
from furiosa_ep.quantization.editor import (
    ModelEditor,
    TensorType,
    get_output_names,
    get_pure_input_names,
)
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.images import PREPROCESSING, Preprocessing
from furiosa_ep.quantization.presets import PRESETS, Preset
from furiosa_ep.quantization.quantizer import calibrate, quantize_model
from furiosa_ep.quantization.ranges import Range, load_ranges, merge_ranges, save_ranges
from furiosa_ep.quantization.readers import ImageFolder, batched
from furiosa_ep.quantization.samples import CalibrationData
from furiosa_ep.quantization.sdk import CalibrationMethod, Calibrator, quantize

__all__ = [
    "PREPROCESSING",
    "PRESETS",
    "CalibrationData",
    "CalibrationMethod",
    "Calibrator",
    "Diagnosis",
    "ImageFolder",
    "ModelEditor",
    "Preprocessing",
    "Preset",
    "QuantizationError",
    "Range",
    "TensorType",
    "batched",
    "calibrate",
    "diagnose",
    "get_output_names",
    "get_pure_input_names",
    "load_ranges",
    "merge_ranges",
    "percentile",
    "quantize",
    "quantize_model",
    "save_ranges",
]

"""Turn a float model into a QDQ model that the NPU takes.

`quantize_model` is the one call that most programs need. It prepares the model, asks the
partitioner what the NPU takes, finds the ranges of activations with a calibrator, built in or a
plugin's, and inserts QuantizeLinear and DequantizeLinear. `calibrate` finds the ranges alone, to be
kept, edited and used again. `Calibrator`, `quantize` and `ModelEditor` are what programs that were
written for the Furiosa SDK know.

Importing this package is cheap: each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from furiosa_ep.lazy import loaded_later

if TYPE_CHECKING:
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

_MODULES = {
    "PREPROCESSING": "furiosa_ep.quantization.images",
    "PRESETS": "furiosa_ep.quantization.presets",
    "CalibrationData": "furiosa_ep.quantization.samples",
    "CalibrationMethod": "furiosa_ep.quantization.sdk",
    "Calibrator": "furiosa_ep.quantization.sdk",
    "Diagnosis": "furiosa_ep.quantization.diagnosis",
    "ImageFolder": "furiosa_ep.quantization.readers",
    "ModelEditor": "furiosa_ep.quantization.editor",
    "Preprocessing": "furiosa_ep.quantization.images",
    "Preset": "furiosa_ep.quantization.presets",
    "QuantizationError": "furiosa_ep.quantization.errors",
    "Range": "furiosa_ep.quantization.ranges",
    "TensorType": "furiosa_ep.quantization.editor",
    "batched": "furiosa_ep.quantization.readers",
    "calibrate": "furiosa_ep.quantization.quantizer",
    "diagnose": "furiosa_ep.quantization.diagnosis",
    "get_output_names": "furiosa_ep.quantization.editor",
    "get_pure_input_names": "furiosa_ep.quantization.editor",
    "load_ranges": "furiosa_ep.quantization.ranges",
    "merge_ranges": "furiosa_ep.quantization.ranges",
    "percentile": "furiosa_ep.quantization.calibrators",
    "quantize": "furiosa_ep.quantization.sdk",
    "quantize_model": "furiosa_ep.quantization.quantizer",
    "save_ranges": "furiosa_ep.quantization.ranges",
}
"""Where each public name comes from."""


if not TYPE_CHECKING:  # which sees the imports above instead, and misspelt names
    __getattr__ = loaded_later(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

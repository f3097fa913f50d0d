"""Where a quantized model loses accuracy, and what to do about it."""

from furiosa_ep.quantization.diagnosis.causes import Cause
from furiosa_ep.quantization.diagnosis.diagnosis import diagnose
from furiosa_ep.quantization.diagnosis.report import Diagnosis, LayerDiagnosis, OutputDiagnosis

__all__ = ["Cause", "Diagnosis", "LayerDiagnosis", "OutputDiagnosis", "diagnose"]

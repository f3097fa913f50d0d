"""`quantize_model`: a float model and some data in, a QDQ model out."""

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from furiosa_ep.quantization.calibration import CalibrationData, FeedReader
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.prepare import ModelLike, prepare_model
from furiosa_ep.quantization.presets import Preset, find_preset

ACTIVATION_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


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
    that does not fit the inputs, and for no data.
    """
    chosen = find_preset(preset)
    prepared = prepare_model(model)
    reader = FeedReader(data, [value.name for value in prepared.graph.input])
    add_pre_process_metadata(prepared)
    with tempfile.TemporaryDirectory(prefix="furiosa-ep-") as folder:
        target = Path(folder, "quantized.onnx")
        try:
            quantize_static(
                prepared,
                target,
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=chosen.per_channel,
                activation_type=ACTIVATION_TYPES[chosen.activation],
                weight_type=QuantType.QInt8,
                extra_options={"CalibMovingAverage": chosen.calibration == "average"},
            )
        except QuantizationError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common base
            if reader.count == 0:
                raise QuantizationError(
                    "no calibration data: give at least one sample of what the model will see"
                ) from error
            raise QuantizationError(f"ONNX Runtime's quantizer failed: {error}") from error
        quantized = onnx.load_model(target)
    _restore_metadata(quantized, prepared)
    logging.getLogger(__name__).debug("quantized with %d samples, %s", reader.count, chosen)
    return quantized


def _restore_metadata(quantized: onnx.ModelProto, prepared: onnx.ModelProto) -> None:
    """Programs look for metadata (the character list of an OCR model), so it has to survive."""
    present = {entry.key for entry in quantized.metadata_props}
    quantized.metadata_props.extend(e for e in prepared.metadata_props if e.key not in present)

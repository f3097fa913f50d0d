"""`quantize_model`: a float model and some data in, a QDQ model out; `calibrate`: the ranges."""

import logging
from collections.abc import Mapping, Sequence

import onnx

from furiosa_ep.partitioner.descriptors import Calibrator
from furiosa_ep.quantization.calibration import Calibration, find_calibrator
from furiosa_ep.quantization.editor import borders, convert_borders
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.insertion import insert_qdq, quantized_values
from furiosa_ep.quantization.loading import ModelLike
from furiosa_ep.quantization.prepare import prepare_model
from furiosa_ep.quantization.presets import Preset, find_preset
from furiosa_ep.quantization.ranges import Range, check_ranges
from furiosa_ep.quantization.samples import CalibrationData


def quantize_model(
    model: ModelLike,
    data: CalibrationData = (),
    preset: str | Preset = "default",
    *,
    ranges: Mapping[str, Sequence[float]] | None = None,
) -> onnx.ModelProto:
    """Return `model` as a QDQ model: 8-bit activations, int8 weights, int32 biases.

    `model` is a path, the bytes of a model, or a ModelProto, which is left as it is; its opset is
    raised to 13 where it is lower. `data` yields samples of what the model will see, each an
    array (for a model of one input) or a dict from input name to array, in the input's shape; a
    CalibrationDataReader works too. `preset` is a name in `PRESETS` or a `Preset`:
    "default" is uint8 activations that reach from the smallest to the largest value seen, and int8
    weights per output channel. `ranges`, such as `calibrate` finds, are taken as they are; data
    are needed only for values that they do not name.

    Raises `QuantizationError` for a model that cannot be read or is quantized already, for data
    that does not fit the inputs, for neither data nor range of a value, for ranges of values that
    the model does not have or quantize, and where a calibrator fails.
    """
    prepared = prepare_model(model)
    given = check_ranges(ranges or {})
    if unknown := given.keys() - calibrated_values(prepared):
        raise QuantizationError(
            f"ranges of {', '.join(sorted(unknown))}: the model quantizes no values of these names"
        )
    return quantize_prepared(prepared, data, find_preset(preset), given)


def quantize_prepared(
    prepared: onnx.ModelProto, data: CalibrationData, preset: Preset, given: Mapping[str, Range]
) -> onnx.ModelProto:
    """`quantize_model` for a model that has been prepared."""
    noted = borders(prepared)
    found = {**given, **{name: border.range for name, border in noted.items() if border.range}}
    missing = [name for name in calibrated_values(prepared) if name not in found]
    if missing or not found:
        found |= _find_ranges(prepared, missing, data, preset.calibration)
    quantized = insert_qdq(prepared, found, preset)
    _restore_metadata(quantized, prepared)
    convert_borders(quantized, noted, found)
    logging.getLogger(__name__).debug("quantized %d activations, %s", len(found), preset)
    return quantized


def calibrate(
    model: ModelLike, data: CalibrationData, calibration: str | Calibrator = "extremes"
) -> dict[str, Range]:
    """Return the ranges that `quantize_model` would find for the activations, by their names.

    `model` and `data` are those of `quantize_model`, `calibration` is that of a `Preset`.

    Raises `QuantizationError` like `quantize_model`.
    """
    prepared = prepare_model(model)
    return _find_ranges(prepared, calibrated_values(prepared), data, calibration)


def calibrated_values(prepared: onnx.ModelProto) -> list[str]:
    """The values of a prepared model that need ranges."""
    return list(dict.fromkeys([*quantized_values(prepared), *borders(prepared)]))


def _find_ranges(
    prepared: onnx.ModelProto,
    values: Sequence[str],
    data: CalibrationData,
    calibration: str | Calibrator,
) -> dict[str, Range]:
    run = Calibration(prepared, values, find_calibrator(calibration))
    run.collect(data, "Calibrating")
    return run.ranges()


def _restore_metadata(quantized: onnx.ModelProto, prepared: onnx.ModelProto) -> None:
    """Programs look for metadata (the character list of an OCR model), so it has to survive."""
    present = {entry.key for entry in quantized.metadata_props}
    quantized.metadata_props.extend(e for e in prepared.metadata_props if e.key not in present)

"""`quantize_model`: a float model and some data in, a QDQ model out; `calibrate`: the ranges."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

import onnx

from furiosa_ep.partitioner.descriptors import Calibrator
from furiosa_ep.quantization.accuracy.equalisation import channel_axes, equalize
from furiosa_ep.quantization.accuracy.layerwise import quantize_layers
from furiosa_ep.quantization.accuracy.saturation import SAMPLES as LIMIT_SAMPLES
from furiosa_ep.quantization.accuracy.saturation import saturating_units, saturation_limits
from furiosa_ep.quantization.accuracy.smoothing import smooth, smoothed_axes
from furiosa_ep.quantization.accuracy.statistics import channel_maxima
from furiosa_ep.quantization.calibration import Calibration, find_calibrator
from furiosa_ep.quantization.calibrators import EXTREMES
from furiosa_ep.quantization.editor import borders, convert_borders
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.insertion import insert_qdq
from furiosa_ep.quantization.loading import ModelLike
from furiosa_ep.quantization.parameters import (
    far_apart_at_the_end,
    parameters_of,
    value_ranges,
)
from furiosa_ep.quantization.prepare import prepare_model
from furiosa_ep.quantization.presets import Preset, find_preset
from furiosa_ep.quantization.ranges import Range, check_ranges
from furiosa_ep.quantization.samples import CalibrationData, Samples
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.units import find_scheme

_log = logging.getLogger(__name__)


def quantize_model(
    model: ModelLike,
    data: CalibrationData = (),
    preset: str | Preset = "default",
    *,
    ranges: Mapping[str, Sequence[float]] | None = None,
    keep_float: Iterable[str] = (),
) -> onnx.ModelProto:
    """Return `model` as a QDQ model: 8-bit activations, int8 weights, int32 biases.

    `model` is a path, the bytes of a model, or a ModelProto, which is left as it is; its opset is
    raised to 13 where it is lower. `data` yields samples of what the model will see, each an
    array (for a model of one input) or a dict from input name to array, in the input's shape; a
    CalibrationDataReader works too. `preset` is a name in `PRESETS` or a `Preset`:
    "default" is uint8 activations that reach from the smallest to the largest value seen, and int8
    weights per output channel. `ranges`, such as `calibrate` finds, are taken as they are; data
    are needed only for values that they do not name. `keep_float` names nodes that are not
    quantized, by their names or those of their outputs, or by patterns of them (`fnmatch`).

    What the NPU does not take is left in float, too.

    Raises `QuantizationError` for a model that cannot be read or is quantized already, for data
    that does not fit the inputs, for neither data nor range of a value, for ranges of values that
    the model does not have or quantize, for patterns of no node, and where a calibrator fails.
    """
    if isinstance(keep_float, str):
        keep_float = (keep_float,)
    prepared = prepare_model(model)
    scheme = find_scheme(prepared)
    scheme = scheme.without(scheme.matching(keep_float), "kept in float as asked")
    given = check_ranges(ranges or {})
    _check_names(scheme, given)
    return quantize_scheme(scheme, data, find_preset(preset), given)


def quantize_scheme(
    scheme: Scheme, data: CalibrationData, preset: Preset, given: Mapping[str, Range]
) -> onnx.ModelProto:
    """`quantize_model` for a scheme. Ranges that nothing needs are left out of account."""
    noted = borders(scheme.model)
    samples = Samples(data, scheme.model.graph.input)
    found = {**given, **{name: border.range for name, border in noted.items() if border.range}}
    missing = [name for name in calibrated_values(scheme) if name not in found]
    has_data = bool(missing or not found)
    if has_data:
        if not given:
            scheme = _with_alike_channels(scheme, samples, preset)
        limits = _limits(scheme, missing, samples) if preset.limit_to_functions else {}
        found |= _find_ranges(scheme, missing, samples, preset.calibration, limits)
    of_all = value_ranges(scheme, found)
    scheme = scheme.without(
        far_apart_at_the_end(scheme, found),
        "it joins values whose ranges are far apart, and only outputs follow",
    )
    ranges = value_ranges(scheme, found)
    corrected, weights = quantize_layers(
        scheme.model,
        samples,
        ranges,
        outputs=scheme.layers.keys(),
        per_channel=preset.per_channel,
        search_weights=preset.search_weights and has_data,
        adapt_rounding=preset.adapt_rounding and has_data,
        correct_bias=preset.correct_bias and has_data,
    )
    parameters = {name: parameters_of(one, preset.activation) for name, one in ranges.items()}
    quantized = insert_qdq(scheme.of(corrected), parameters, weights)
    convert_borders(quantized, noted, {**of_all, **found, **ranges})
    for position, reason in sorted(scheme.in_float.items()):
        _log.info("%s stays in float: %s", scheme.label(position), reason)
    _log.debug("quantized %d values in %d units, %s", len(ranges), len(scheme.units), preset)
    return quantized


def _with_alike_channels(scheme: Scheme, samples: Samples, preset: Preset) -> Scheme:
    """The scheme for a model of the same function whose channels are easier to quantize."""
    model = scheme.model
    if preset.smooth:
        model = smooth(model, channel_maxima(model, smoothed_axes(model), samples))
    if preset.equalize:
        model = equalize(model, channel_maxima(model, channel_axes(model), samples))
    return scheme.of(model)


def _limits(scheme: Scheme, values: Sequence[str], samples: Samples) -> dict[str, Range]:
    """The ranges beyond which numbers make no difference to what reads them."""
    if saturating_units(scheme).keys().isdisjoint(values):
        return {}
    run = Calibration(scheme.model, values, EXTREMES)
    run.collect(islice(samples, LIMIT_SAMPLES))
    return saturation_limits(scheme, run.ranges())


def calibrate(
    model: ModelLike, data: CalibrationData, calibration: str | Calibrator = "extremes"
) -> dict[str, Range]:
    """Return the ranges that `quantize_model` would find for the activations, by their names.

    `model` and `data` are those of `quantize_model`, `calibration` is that of a `Preset`.

    Raises `QuantizationError` like `quantize_model`.
    """
    scheme = find_scheme(prepare_model(model))
    return _find_ranges(scheme, calibrated_values(scheme), data, calibration)


def calibrated_values(scheme: Scheme) -> list[str]:
    """The values that need ranges."""
    return [
        *scheme.calibrated,
        *(name for name in borders(scheme.model) if name not in scheme.sources),
    ]


def _find_ranges(
    scheme: Scheme,
    values: Sequence[str],
    data: CalibrationData,
    calibration: str | Calibrator,
    limits: Mapping[str, Range] = MappingProxyType({}),
) -> dict[str, Range]:
    run = Calibration(scheme.model, values, find_calibrator(calibration), limits)
    run.collect(data, "Calibrating")
    return run.ranges()


def _check_names(scheme: Scheme, given: Mapping[str, Range]) -> None:
    for name in given:
        if name not in scheme.sources:
            raise QuantizationError(
                f"the range of {name!r}: the model quantizes no value of this name"
            )
        source = scheme.sources[name]
        if source != name:
            raise QuantizationError(
                f"the range of {name!r}: it has the parameters of {source!r}, whose numbers are "
                "moved there; give the range of that"
            )

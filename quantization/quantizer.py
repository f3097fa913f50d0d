"""`quantize_model`: a float model and some data in, a QDQ model out; `calibrate`: the ranges."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from furiosa_ep.partitioner.descriptors import Calibrator
from furiosa_ep.quantization.accuracy.layerwise import quantize_layers
from furiosa_ep.quantization.accuracy.rescaling import ADAPTED_STRENGTH, equalize_scheme
from furiosa_ep.quantization.accuracy.rescaling import SAMPLES as EQUALIZE_SAMPLES
from furiosa_ep.quantization.accuracy.saturation import SAMPLES as LIMIT_SAMPLES
from furiosa_ep.quantization.accuracy.saturation import saturating_units, saturation_limits
from furiosa_ep.quantization.accuracy.smoothing import smooth, smoothed_axes
from furiosa_ep.quantization.accuracy.statistics import channel_reaches
from furiosa_ep.quantization.calibration import Calibration, find_calibrator
from furiosa_ep.quantization.calibrators import EXTREMES
from furiosa_ep.quantization.editor import borders, convert_borders
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.given import Given
from furiosa_ep.quantization.loading import ModelLike
from furiosa_ep.quantization.parameters import (
    far_apart_at_the_end,
    parameters_of,
    value_ranges,
)
from furiosa_ep.quantization.prepare import prepare_model, prepare_trained
from furiosa_ep.quantization.presets import Preset, find_preset
from furiosa_ep.quantization.ranges import Range, check_ranges
from furiosa_ep.quantization.samples import CalibrationData, Feed, Samples
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.search import (
    OutputLoss,
    Part,
    Quantization,
    best_preset,
    costly_units,
)
from furiosa_ep.quantization.units import find_scheme

METADATA_KEY = "furiosa_ep.quantization"
"""In the metadata of a quantized model: how it was made."""

_log = logging.getLogger(__name__)


def quantize_model(
    model: ModelLike,
    data: CalibrationData = (),
    preset: str | Preset = "default",
    *,
    ranges: Mapping[str, Sequence[float]] | None = None,
    keep_float: Iterable[str] = (),
    max_loss: float | None = None,
) -> onnx.ModelProto:
    """Return `model` as a QDQ model: 8-bit activations, int8 weights, int32 biases.

    `model` is a path, the bytes of a model, or a ModelProto, which is left as it is; its opset is
    raised to 13 where it is lower. `data` yields samples of what the model will see, each an
    array (for a model of one input) or a dict from input name to array, in the input's shape; a
    CalibrationDataReader works too. `preset` is a name in `PRESETS` or a `Preset`:
    "default" is uint8 activations, int8 weights per output channel and all accuracy methods.
    `ranges`, such as `calibrate` finds, are taken as they are; data are needed only for values that
    they do not name.

    A model that was trained with quantization (QAT), with QuantizeLinear and DequantizeLinear here
    and there, keeps their parameters, and its type of activations; the rest is quantized as in any
    other model, but for the methods that change what values are.

    What the NPU does not take is left in float. `keep_float` names nodes that are as well, by their
    names or those of their outputs, or by patterns of them (`fnmatch`). With `max_loss`, those
    that lose most are, as many as it takes: it bounds the squared error of the outputs relative to
    their power (0.001 is 30 dB), as measured on calibration data.

    What was done stands in the model's metadata as JSON, under "furiosa_ep.quantization": the
    `options` of the preset, which nodes are `in_float` and why, with a search or `max_loss` also
    the `loss`, and what else was `tried`.

    Raises `QuantizationError` for a model that cannot be read or is quantized already, for data
    that does not fit the inputs, for neither data nor range of a value, for ranges of values that
    the model does not have or quantize, for patterns of no node, and where a calibrator fails.
    """
    if isinstance(keep_float, str):
        keep_float = (keep_float,)
    if max_loss is not None and not max_loss > 0:
        raise QuantizationError(f"max_loss {max_loss}: expected a number above 0, such as 0.001")
    prepared, given = prepare_trained(model)
    scheme = find_scheme(prepared, given.parameters)
    scheme = scheme.without(scheme.matching(keep_float), "kept in float as asked")
    chosen = find_preset(preset)
    if given:
        given = _fitting(scheme, given)
        chosen = replace(chosen, activation=given.activation or chosen.activation)
    asked = check_ranges(ranges or {})
    _check_names(scheme, asked)
    given.ranges |= asked
    return quantize_scheme(scheme, data, chosen, given, max_loss)


def quantize_scheme(
    scheme: Scheme,
    data: CalibrationData,
    preset: Preset,
    given: Given,
    max_loss: float | None = None,
) -> onnx.ModelProto:
    """`quantize_model` for a scheme. Ranges that nothing needs are left out of account."""
    samples = Samples(data, scheme.model.graph.input)
    facts: dict[str, Any] = {}
    if preset.search:
        unseen, others = OutputLoss(scheme.model, Part(samples, True)), Part(samples, False)
        preset, tried = best_preset(
            preset, lambda one: unseen(_quantization(scheme, others, one, given).model())
        )
        facts["tried"] = dict(tried)
    loss = OutputLoss(scheme.model, samples) if preset.search or max_loss is not None else None
    quantization = _quantization(scheme, samples, preset, given)
    if max_loss is not None and loss is not None and loss(quantization.model()) > max_loss:
        costly = costly_units(quantization, loss, max_loss)
        written = {name for unit in costly for name in unit.writes}
        units = (unit for unit in scheme.units if not written.isdisjoint(unit.writes))
        positions = {position for unit in units for position in unit.positions}
        reason = f"it loses more than others do, and outputs may lose {max_loss:g} in all"
        quantization = _quantization(scheme.without(positions, reason), samples, preset, given)
    quantized = quantization.model()
    if loss is not None:
        facts["loss"] = loss(quantized)
    convert_borders(quantized, borders(scheme.model), quantization.ranges)
    _describe(quantized, quantization.scheme, preset, facts)
    return quantized


def _quantization(
    scheme: Scheme, samples: Iterable[Feed], preset: Preset, given: Given
) -> Quantization:
    noted = borders(scheme.model)
    found = {
        **given.ranges,
        **{name: border.range for name, border in noted.items() if border.range},
    }
    missing = [name for name in calibrated_values(scheme) if name not in found]
    has_data = bool(missing) or next(iter(samples), None) is not None
    if missing or not found:
        if not given:
            scheme = _with_alike_channels(scheme, missing, samples, preset)
        limits = _limits(scheme, missing, samples) if preset.limit_to_functions else {}
        found |= _find_ranges(scheme, missing, samples, preset.calibration, limits)
    found = value_ranges(scheme, found, given.ranges) | found
    scheme = scheme.without(
        far_apart_at_the_end(scheme, found),
        "it joins values whose ranges are far apart, and only outputs follow",
    )
    ranges = value_ranges(scheme, found, given.ranges)
    corrected, weights = quantize_layers(
        scheme.model,
        samples,
        ranges,
        outputs={o for o, layer in scheme.layers.items() if layer.weight not in given.weights},
        per_channel=preset.per_channel,
        search_weights=preset.search_weights and has_data,
        adapt_rounding=preset.adapt_rounding and has_data,
        correct_bias=preset.correct_bias and has_data,
    )
    parameters = {name: parameters_of(one, preset.activation) for name, one in ranges.items()}
    for name in parameters:
        known = given.parameters.get(name) or given.parameters.get(scheme.sources[name])
        parameters[name] = known or parameters[name]
    weights |= given.weights
    return Quantization(scheme.of(corrected), parameters, weights, {**found, **ranges})


def _fitting(scheme: Scheme, given: Given) -> Given:
    """What a model brings along, as far as it is still there in the optimised model.

    Raises:
        QuantizationError: where nothing is left to quantize.
    """
    weights = {}
    for layer in scheme.layers.values():
        known, tensor = given.weights.get(layer.weight), scheme.constants[layer.weight]
        if known is None or known.axis not in (layer.axis, None):
            continue
        if np.array_equal(known.dequantized(), numpy_helper.to_array(tensor)):
            weights[layer.weight] = known
    names = {layer.weight for layer in scheme.layers.values()}
    if given.parameters.keys() >= {*scheme.calibrated} and weights.keys() == names:
        raise QuantizationError(
            "the model is quantized already: all that the NPU takes has its parameters; use it as "
            "it is, or give the float model that it was made from"
        )
    values = {name: one for name, one in given.parameters.items() if name in scheme.sources}
    return Given({name: given.ranges[name] for name in values}, values, weights)


def _describe(
    quantized: onnx.ModelProto, scheme: Scheme, preset: Preset, facts: Mapping[str, Any]
) -> None:
    """Note in a model's metadata, and in the log, how it was quantized."""
    in_float = {scheme.label(p): reason for p, reason in sorted(scheme.in_float.items())}
    for label, reason in in_float.items():
        _log.info("%s stays in float: %s", label, reason)
    calibrator = find_calibrator(preset.calibration).name
    options = asdict(replace(preset, calibration=calibrator))
    del options["search"]  # it is over
    told = {"options": options, "in_float": in_float, **facts}
    quantized.metadata_props.add(key=METADATA_KEY, value=json.dumps(told, ensure_ascii=False))


def _with_alike_channels(
    scheme: Scheme, values: Sequence[str], samples: Iterable[Feed], preset: Preset
) -> Scheme:
    """The scheme for a model of the same function whose channels are easier to quantize."""
    model = scheme.model
    if preset.smooth:
        model = smooth(model, channel_reaches(model, smoothed_axes(model), samples))
    scheme = scheme.of(model)
    if preset.equalize:
        limits = _limits(scheme, values, samples) if preset.limit_to_functions else {}
        measure = partial(channel_reaches, samples=samples, limits=limits, limit=EQUALIZE_SAMPLES)
        adapted = preset.per_channel and preset.adapt_rounding and preset.correct_bias
        strength = ADAPTED_STRENGTH if adapted else 0.5
        scheme = equalize_scheme(scheme, measure, strength)
    return scheme


def _limits(scheme: Scheme, values: Sequence[str], samples: Iterable[Feed]) -> dict[str, Range]:
    """The ranges beyond which numbers make no difference to what reads them."""
    if saturating_units(scheme).keys().isdisjoint(values):
        return {}
    run = Calibration(scheme.model, values, EXTREMES)
    run.collect(islice(samples, LIMIT_SAMPLES))
    return saturation_limits(scheme, run.ranges())


def calibrate(
    model: ModelLike, data: CalibrationData, calibration: str | Calibrator = Preset.calibration
) -> dict[str, Range]:
    """Return the ranges of the activations that `quantize_model` quantizes, by their names.

    `model` and `data` are those of `quantize_model`, `calibration` is that of a `Preset`, by
    default that of the default one. The ranges are those of the model as it is, without what
    accuracy methods change.

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

"""`diagnose`: run a float and a quantized model side by side and tell where they part."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from furiosa_ep.quantization.diagnosis.causes import Evidence, advice_for, cause_of
from furiosa_ep.quantization.diagnosis.measures import LIMIT, Measures, Noise, decibels
from furiosa_ep.quantization.diagnosis.outputs import Outputs
from furiosa_ep.quantization.diagnosis.pairing import Pair, Pairing, quantized_feed, reference_of
from furiosa_ep.quantization.diagnosis.report import Diagnosis, LayerDiagnosis
from furiosa_ep.quantization.diagnosis.runs import (
    HELD,
    LayersAlone,
    ObservedModel,
    OneReplaced,
    without_rounding,
)
from furiosa_ep.quantization.diagnosis.sites import find_sites
from furiosa_ep.quantization.diagnosis.structure import Structure
from furiosa_ep.quantization.editor import get_output_names, get_pure_input_names
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.loading import ModelLike, load_model
from furiosa_ep.quantization.optimize import optimize
from furiosa_ep.quantization.prepare import QUANTIZED_OPS
from furiosa_ep.quantization.progress import progress
from furiosa_ep.quantization.samples import Array, CalibrationData, Feed, feeds

PAIRED = 8
"""How many samples show which values belong together."""
REPLACED = 2
"""On how many samples each layer alone is followed to the outputs: this takes a run for each."""


def diagnose(
    float_model: ModelLike,
    quantized_model: ModelLike,
    data: CalibrationData,
    *,
    limit: int = 32,
) -> Diagnosis:
    """Tell where a quantized model loses what its float model knows, and what to do about it.

    `quantized_model` is a QDQ model, as `quantize_model` or another quantizer makes, `float_model`
    what it was made of, and `data` samples of what they will see, of which the first `limit` are
    taken. Both run on ONNX Runtime's CPU provider, and memory holds the values of one sample.

    Raises:
        QuantizationError: where a model cannot be read or is not of its kind, where they do not
            belong together, for no samples, for samples that do not fit, and for samples of which
            the float model makes NaN or infinity.
    """
    models = _Models(float_model, quantized_model)
    samples = itertools.islice(feeds(data, models.inputs), limit)
    first = list(itertools.islice(samples, PAIRED))
    if not first:
        raise QuantizationError("no samples: give at least one of what the model will see")
    run = _Run(models, models.pairs(first))
    for feed in progress(itertools.chain(first, samples), "Diagnosing"):
        run.add(feed)
    return run.diagnosis()


class _Models:
    """Both models, as they are run."""

    def __init__(self, float_model: ModelLike, quantized_model: ModelLike) -> None:
        plain, self.quantized = load_model(float_model), load_model(quantized_model)
        quantized = next((n for n in plain.graph.node if n.op_type in QUANTIZED_OPS), None)
        if quantized is not None:
            raise QuantizationError(
                f"the float model has a {quantized.op_type}: it is quantized; are the two models "
                "in the wrong order?"
            )
        self.sites = find_sites(self.quantized)
        self.reference = reference_of(plain, optimize(plain, check=False), self.sites)
        names = get_pure_input_names(self.reference)
        self.inputs = [value for value in self.reference.graph.input if value.name in names]
        self.actual = ObservedModel(
            self.quantized,
            [*(site.integers for site in self.sites), *get_output_names(self.quantized)],
            "the quantized model",
        )

    def feed(self, feed: Feed) -> Feed:
        """A sample as the quantized model takes it."""
        return quantized_feed(feed, self.reference, self.quantized, self.sites)

    def pairs(self, samples: Sequence[Feed]) -> tuple[Pair, ...]:
        """Which values belong together."""
        pairing = Pairing(self.reference, self.quantized, self.sites)
        expected = ObservedModel(self.reference, pairing.values, "the float model")
        computed = [site.integers + HELD for site in self.sites if site.value]
        held = ObservedModel(
            without_rounding(self.quantized, self.sites), computed, "the quantized model"
        )
        for number, feed in enumerate(samples):
            floats = expected.run(feed, number)
            _check_finite(floats, number)
            pairing.observe(floats, held.run(self.feed(feed), number))
        return pairing.pairs()


def _check_finite(values: Mapping[str, Array], number: int) -> None:
    for name, array in values.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            found = "NaN" if np.isnan(array).any() else "infinity"
            raise QuantizationError(
                f"sample {number}: the float model computes {found} in {name!r}, with which "
                "nothing can be compared; look at the sample and at what the model computes of it"
            )


class _Run:
    """Both models side by side, over all samples."""

    def __init__(self, models: _Models, pairs: Sequence[Pair]) -> None:
        self._models, self._structure = models, Structure(models.quantized, models.sites)
        self._pairs = {pair.site.integers: pair for pair in self._distinct(pairs)}
        values = [pair.value for pair in pairs]
        self._expected = ObservedModel(
            models.reference, [*values, *get_output_names(models.reference)], "the float model"
        )
        self._alone = LayersAlone(models.quantized, [pair.site for pair in pairs])
        self._replaced = OneReplaced(models.reference, values)
        self._all = pairs
        self._measures = {key: Measures(p.site, p.axis) for key, p in self._pairs.items()}
        self._outputs = Outputs(models.reference, models.quantized, models.sites)
        self._effects: dict[str, dict[str, Noise]] = {}
        self._samples = 0

    def _distinct(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Each value once, unless it is held in different steps."""
        found: dict[tuple[object, ...], Pair] = {}
        for pair in pairs:
            key = (pair.value, float(pair.site.scale), pair.site.zero_point, pair.site.lowest)
            found.setdefault(key, pair)
        return list(found.values())

    def add(self, feed: Feed) -> None:
        number, self._samples = self._samples, self._samples + 1
        floats = self._expected.run(feed, number)
        _check_finite(floats, number)
        own = self._models.feed(feed)
        actual = self._models.actual.run(own, number)
        self._outputs.add(floats, actual)
        given = {p.site.integers: p.scaled(floats[p.value]) for p in self._all}
        alone = self._alone.run(own, given, number)
        for key, pair in self._pairs.items():
            moved = key in self._structure.moved
            computed = None if moved else alone.get(key)
            self._measures[key].add(given[key], actual[key], computed)
            if number < REPLACED and not moved:
                numbers = given[key] if computed is None else computed
                instead = pair.site.dequantized(pair.site.quantized(numbers))
                self._follow(key, feed, floats, pair.unscaled(instead), number)

    def _follow(
        self, key: str, feed: Feed, floats: Mapping[str, Array], instead: Array, number: int
    ) -> None:
        """What the float model's outputs make of a value that is quantized alone."""
        pair = self._pairs[key]
        found = self._replaced.run(feed, floats, pair.value, instead, number)
        for name, array in found.items():
            if array.dtype.kind == "f":
                effects = self._effects.setdefault(key, {})
                effects.setdefault(name, Noise()).add(floats[name], array)

    def diagnosis(self) -> Diagnosis:
        effects = {
            key: float(np.mean([noise.ratio for noise in found.values()]))
            for key, found in self._effects.items()
        }
        losses = effects or {
            key: self._measures[key].alone.ratio
            for key in self._pairs
            if key not in self._structure.moved
        }
        total = sum(losses.values())
        shares = {key: loss / total if total else 0.0 for key, loss in losses.items()}
        names = {key: pair.site.node for key, pair in self._pairs.items()}
        layers = []
        for key in self._pairs:
            upstream = [one for one in self._structure.upstream(key) if one in self._pairs]
            worst = max(upstream, key=lambda one: shares.get(one, 0.0), default=None)
            node = None if worst is None else names[worst]
            label = "" if worst is None else (node and node.name) or self._pairs[worst].value
            effect = effects.get(key, 0.0) if effects else None
            layers.append(self._layer(key, shares.get(key, 0.0), effect, label))
        paired = {pair.site.integers for pair in self._all}
        unpaired = tuple(
            site.value or site.integers
            for site in self._models.sites
            if site.integers not in paired
        )
        return Diagnosis(tuple(layers), self._outputs.diagnoses(), self._samples, unpaired)

    def _layer(self, key: str, share: float, effect: float | None, worst: str) -> LayerDiagnosis:
        pair, measures = self._pairs[key], self._measures[key]
        site, moved = pair.site, key in self._structure.moved
        constants = self._structure.constants(site)
        local = LIMIT if moved else measures.alone.decibels
        weights = decibels(measures.accumulated.signal, measures.weights)
        output_db = None if effect is None else decibels(1.0, effect)
        evidence = Evidence(
            share=share,
            output_db=output_db,
            accumulated_db=measures.accumulated.decibels,
            local_db=local,
            rounding=measures.rounding,
            clipping=measures.clipping,
            weights=measures.weights,
            outside=measures.outside / max(measures.numbers, 1),
            reach=(measures.high - measures.low) / (site.high - site.low),
            typical_steps=measures.typical_steps,
            channel_spread=measures.channel_spread,
            full_biases=constants.full_biases,
            upstream=worst,
            per_channel=constants.per_channel,
        )
        cause = cause_of(evidence)
        bars, bars_low, bars_high = measures.bars()
        return LayerDiagnosis(
            value=pair.value,
            node=site.node.name if site.node is not None else "",
            op_type=site.node.op_type if site.node is not None else "Input",
            shape=measures.shape,
            scale=float(site.scale),
            zero_point=site.zero_point,
            low=site.low,
            high=site.high,
            seen_low=measures.low,
            seen_high=measures.high,
            accumulated_db=evidence.accumulated_db,
            local_db=local,
            output_db=output_db,
            share=share,
            weights_db=None if constants.per_channel is None else weights,
            clipped=evidence.outside,
            steps_used=measures.steps_used,
            typical_steps=evidence.typical_steps,
            channel_spread=evidence.channel_spread,
            rescaled=pair.gains is not None,
            cause=cause,
            advice=advice_for(cause, evidence),
            bars=tuple(bars),
            bars_low=bars_low,
            bars_high=bars_high,
        )

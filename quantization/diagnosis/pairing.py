"""Which value of the float model each 8-bit value of the quantized model stands for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from furiosa_ep.quantization.diagnosis.measures import decibels
from furiosa_ep.quantization.diagnosis.runs import HELD
from furiosa_ep.quantization.diagnosis.sites import Floats, Site, constants_of
from furiosa_ep.quantization.editor import get_pure_input_names
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.prepare import QDQ
from furiosa_ep.quantization.samples import Array, Feed

CLIPS = ("Relu", "Clip")
"""What quantizers fold into the range of the value that it limits."""
SCALED = 1.25
"""A channel that differs by this factor at least may have been scaled on purpose."""
SCALED_GAIN = 10.0
"""By how many dB two values must be closer with any scales for these to be on purpose; a fourth of
that where some are beyond doubt. The result must be as close as this, too."""
NEAR = 0.35
"""How near the logarithm of a scale must be to that of a power of two to be taken for it."""
NEARER = 4.0
"""How many times less noise a channel must have with such a scale."""
NEAR_ENOUGH = 1.5
"""That of a channel that is scaled up, which nothing does but equalisation."""
ENOUGH = 64
"""How many numbers a channel must have for its scale to be known."""
ALIKE = 3.0
"""How close, in dB, values of different names must be for one to stand for the other."""

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """An 8-bit value and the float value that it stands for."""

    site: Site
    value: str
    """In the float model."""
    axis: int
    """That of the channels; -1 for the last one."""
    gains: Floats | None
    """By what the quantized model holds each channel multiplied, as cross-layer equalisation does,
    along `axis`; None where it holds them as they are."""

    def scaled(self, array: Floats) -> Floats:
        """What the quantized model would hold in float."""
        return array if self.gains is None else array * self.gains

    def unscaled(self, array: Floats) -> Floats:
        """What the float model would hold."""
        return array if self.gains is None else array / self.gains


class Pairing:
    """Finds the pairs, by names and structure first, and then by what some samples show."""

    def __init__(
        self, reference: onnx.ModelProto, quantized: onnx.ModelProto, sites: Sequence[Site]
    ) -> None:
        """Take an optimised float model and a QDQ model.

        Raises:
            QuantizationError: where no name of one occurs in the other and their operators differ.
        """
        names = _Names(reference, quantized)
        self.candidates = {site.integers: names.of(site) for site in sites}
        self._sites = sites
        if not any(self.candidates.values()):
            raise QuantizationError(
                "the models do not belong together: no 8-bit value of the quantized model has the "
                "name of a value of the float model, nor is computed as one of these is"
            )
        self._fits: dict[tuple[str, str], _Fit] = {}

    @property
    def values(self) -> list[str]:
        """The values of the float model that are looked at."""
        return list(dict.fromkeys(name for names in self.candidates.values() for name in names))

    def observe(self, floats: Mapping[str, Array], held: Mapping[str, Array]) -> None:
        """Look at a sample: the float model's values, and those of `without_rounding`."""
        for site in self._sites:
            actual = (
                held[site.integers + HELD] if site.value else site.dequantized(held[site.integers])
            )
            for name in self.candidates[site.integers]:
                new = _Fit(_axis(site, actual.ndim))
                fit = self._fits.setdefault((site.integers, name), new)
                fit.add(floats[name], actual)

    def pairs(self) -> tuple[Pair, ...]:
        """What was found.

        Raises:
            QuantizationError: where no values have the same shape.
        """
        found = [pair for site in self._sites if (pair := self._pair(site)) is not None]
        if not found:
            raise QuantizationError(
                "the models do not belong together: values of the same names have other shapes"
            )
        return tuple(found)

    def _pair(self, site: Site) -> Pair | None:
        fits = {
            name: fit
            for name in self.candidates[site.integers]
            if (fit := self._fits.get((site.integers, name))) and not fit.differs
        }
        if not fits:
            return None
        # Of names that are equally close, the first and thus most likely one.
        name = max(fits, key=lambda one: round(fits[one].decibels(), 1))
        fit = fits[name]
        if name not in site.names and fit.decibels() < ALIKE:
            return None
        return Pair(site, name, fit.axis, fit.gains())


class _Fit:
    """How close an 8-bit value is to a float value, channel by channel."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.differs = False
        """Whether they have other shapes or types."""
        self._sums: list[Sums] = []
        self._rank = 0
        self._numbers = 0.0

    def add(self, expected: Array, actual: Floats) -> None:
        """Look at a sample."""
        if expected.shape != actual.shape or expected.dtype != np.float32:
            self.differs = True
            return
        self._rank = max(actual.ndim, 1)
        others = tuple(i for i in range(actual.ndim) if i != self.axis % self._rank)
        products = ((expected, expected), (expected, actual), (actual, actual))
        found = [np.multiply(*both, dtype=np.float64).sum(axis=others) for both in products]
        sums = np.stack([np.atleast_1d(one) for one in found])
        self._numbers += actual.size / max(sums.shape[1], 1)
        if self._sums and sums.shape != self._sums[0].shape:  # the axis is an open dim
            self._numbers = 0
            sums = sums.sum(axis=1, keepdims=True)
            self._sums = [one.sum(axis=1, keepdims=True) for one in self._sums]
        self._sums.append(sums)

    def decibels(self) -> float:
        """Signal to noise, with the channels scaled where that is on purpose."""
        total = np.sum(self._sums, axis=0)
        gains = self.gains()
        return _decibels(
            total, np.ones(1) if gains is None else gains.reshape(-1).astype(np.float64)
        )

    def gains(self) -> Floats | None:
        """How the channels are scaled, in the rank of the value; None where they are not.

        Scales that are on purpose bring one half of the samples nearer that are found on the other.
        """
        halves = [np.sum(self._sums[i::2] or self._sums, axis=0) for i in range(2)]
        total = np.sum(self._sums, axis=0)
        chosen = self._powers_of_two(total, halves)
        close = _decibels(halves[1], chosen)
        free = _gains(halves[0])
        apart = bool(((free > SCALED) | (free < 1 / SCALED)).any())
        best = _decibels(halves[1], free)
        margin = SCALED_GAIN if (chosen == 1).all() else SCALED_GAIN / 4
        if self._numbers >= ENOUGH and apart and best >= max(SCALED_GAIN, close + margin):
            chosen = _gains(total)
        if (chosen == 1).all():
            return None
        shape = [1] * self._rank
        shape[self.axis] = -1
        return chosen.reshape(shape).astype(np.float32)

    def _powers_of_two(self, total: Sums, halves: Sequence[Sums]) -> Sums:
        """The scales as equalisation chooses them, which are found without error; 1 elsewhere."""
        exponents = np.log2(_gains(total))
        found: Sums = np.exp2(np.rint(exponents))
        lower = found < 1  # which limits make of a channel, too
        sure = ~lower | (np.abs(exponents - np.rint(exponents)) < NEAR)
        nearer = np.where(lower, NEARER, NEAR_ENOUGH)
        for half in halves:
            sure &= nearer * _noise(half, found) <= _noise(half, np.ones_like(found))
        return np.where(sure, found, 1.0)


def _gains(sums: Sums) -> Sums:
    """The scale of each channel that leaves the least noise."""
    ff, fq, _ = sums
    found: Sums = np.divide(fq, ff, out=np.ones_like(ff), where=(ff > 0) & (fq > 0))
    return found


def _decibels(sums: Sums, gains: Sums) -> float:
    """Signal to noise where the float channels are scaled so."""
    signal = float((gains**2 * sums[0]).sum())
    return decibels(signal, max(float(_noise(sums, gains).sum()), signal * 1e-10))


def _noise(sums: Sums, gains: Sums) -> Sums:
    """What is left of each channel where the float channels are scaled so."""
    ff, fq, qq = sums
    found: Sums = np.maximum(gains**2 * ff - 2 * gains * fq + qq, 0)
    return found


def _axis(site: Site, rank: int) -> int:
    """The axis of the channels of a value."""
    one_dimensional = site.node is not None and site.node.op_type in ("Conv", "ConvTranspose")
    return 1 if rank >= 4 or (rank == 3 and one_dimensional) else -1


class _Names:
    """Values of a float model that a site may stand for."""

    def __init__(self, reference: onnx.ModelProto, quantized: onnx.ModelProto) -> None:
        graph = reference.graph
        constants = constants_of(graph)
        inputs = [value.name for value in graph.input if value.name not in constants]
        computed = [name for node in graph.node for name in node.output if name]
        self._known = {*inputs, *computed} - constants.keys()
        self._renamed = dict(zip(get_pure_input_names(quantized), inputs, strict=False))
        self._by_node = {node.name: node for node in graph.node if node.name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {value.name for value in graph.output}
        self._alike = dict(_alike(graph, quantized.graph))

    def of(self, site: Site) -> list[str]:
        """The likeliest first."""
        named = [name for name in site.names if name in self._known]
        if not named:
            named = [*self._by_structure(site)]
        return list(dict.fromkeys(one for name in named for one in (name, *self._clipped(name))))

    def _by_structure(self, site: Site) -> Iterator[str]:
        if site.value in self._renamed or site.integers in self._renamed:
            yield self._renamed[site.value or site.integers]
        if site.node is None:
            return
        position = list(site.node.output).index(site.value)
        own = self._by_node.get(site.node.name)
        if own is not None and own.op_type == site.node.op_type:
            yield own.output[position]
        elif site.node.output[0] in self._alike:
            yield self._alike[site.node.output[0]].output[position]

    def _clipped(self, name: str) -> Iterator[str]:
        """What limits a value, where nothing else reads it."""
        readers = self._readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type in CLIPS and name not in self._outputs:
            yield readers[0].output[0]
            yield from self._clipped(readers[0].output[0])


def _alike(
    reference: onnx.GraphProto, quantized: onnx.GraphProto
) -> Iterator[tuple[str, onnx.NodeProto]]:
    """For first outputs of a quantized model's nodes the nodes of the float model, by their order.

    Only operators of which both have the same number.
    """
    own, others = _by_type(reference), _by_type(quantized)
    for op_type, nodes in others.items():
        if len(nodes) == len(own.get(op_type, ())):
            yield from ((a.output[0], b) for a, b in zip(nodes, own[op_type], strict=True))


def _by_type(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type not in QDQ:
            found.setdefault(node.op_type, []).append(node)
    return found


def quantized_feed(
    feed: Feed, reference: onnx.ModelProto, quantized: onnx.ModelProto, sites: Sequence[Site]
) -> Feed:
    """A sample as the quantized model takes it: by its names, in 8 bits where its inputs have 8.

    Raises:
        QuantizationError: where the models have different numbers of inputs.
    """
    own, others = get_pure_input_names(reference), get_pure_input_names(quantized)
    if len(own) != len(others):
        raise QuantizationError(
            f"the models do not belong together: one has the inputs {', '.join(own)}, the other "
            f"{', '.join(others)}"
        )
    names = dict(zip(others, others if set(own) == set(others) else own, strict=True))
    found = {name: feed[names[name]] for name in others}
    for site in sites:
        if site.node is None and not site.value and found[site.integers].dtype.kind == "f":
            found[site.integers] = site.quantized(found[site.integers])
    return found


def reference_of(
    plain: onnx.ModelProto, optimised: onnx.ModelProto, sites: Sequence[Site]
) -> onnx.ModelProto:
    """Of two forms of the float model, the one that has the names of more 8-bit values."""

    def known(model: onnx.ModelProto) -> int:
        names = {
            *get_pure_input_names(model),
            *(n for node in model.graph.node for n in node.output),
        }
        return sum(any(name in names for name in site.names) for site in sites)

    return plain if known(plain) > known(optimised) else optimised

"""How far the outputs of two models agree, summed up over samples."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from furiosa_ep.quantization.diagnosis.measures import Noise
from furiosa_ep.quantization.diagnosis.report import OutputDiagnosis
from furiosa_ep.quantization.diagnosis.sites import Site
from furiosa_ep.quantization.editor import get_output_names
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.samples import Array


class Outputs:
    """The outputs of a float model beside those of a quantized one, in 8 bits or not."""

    def __init__(
        self, reference: onnx.ModelProto, quantized: onnx.ModelProto, sites: Sequence[Site]
    ) -> None:
        own, others = map(get_output_names, (reference, quantized))
        if len(own) != len(others):
            raise QuantizationError(
                f"the models do not belong together: one has the outputs {', '.join(own)}, the "
                f"other {', '.join(others)}"
            )
        self.names = own
        self._others = dict(zip(own, own if set(own) == set(others) else others, strict=True))
        self._sites = {site.integers: site for site in sites}
        self._found = {name: _Agreement() for name in own}

    def add(self, expected: Mapping[str, Array], actual: Mapping[str, Array]) -> None:
        """Look at a sample.

        Raises:
            QuantizationError: where an output has another shape.
        """
        for name in self.names:
            first, second = np.asarray(expected[name]), np.asarray(actual[self._others[name]])
            site = self._sites.get(self._others[name])
            if site is not None and first.dtype.kind == "f":
                second = site.dequantized(second)
            if first.shape != second.shape:
                raise QuantizationError(
                    f"the models do not belong together: output {name!r} has the shape "
                    f"{list(first.shape)} in one and {list(second.shape)} in the other"
                )
            self._found[name].add(first, second)

    def diagnoses(self) -> tuple[OutputDiagnosis, ...]:
        """What was found of each."""
        return tuple(found.diagnosis(name) for name, found in self._found.items())


class _Agreement:
    def __init__(self) -> None:
        self._noise: Noise | None = None
        self._rows = self._same = 0

    def add(self, expected: Array, actual: Array) -> None:
        if expected.dtype.kind == "f":
            self._noise = self._noise or Noise()
            self._noise.add(expected.astype(np.float32), actual.astype(np.float32))
            if expected.ndim != 2 or expected.shape[1] < 2:
                return
            same = expected.argmax(axis=1) == actual.argmax(axis=1)
        else:
            same = expected == actual
        self._rows += same.size
        self._same += int(np.count_nonzero(same))

    def diagnosis(self, name: str) -> OutputDiagnosis:
        return OutputDiagnosis(
            name,
            None if self._noise is None else self._noise.decibels,
            self._same / self._rows if self._rows else None,
        )

"""The names of the Furiosa SDK's `furiosa.quantizer`, for programs that are written with them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import onnx

from furiosa_ep.quantization.calibration import Calibration, find_calibrator
from furiosa_ep.quantization.calibrators import PERCENTAGE, percentile
from furiosa_ep.quantization.editor import float_borders, get_pure_input_names
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.given import Given
from furiosa_ep.quantization.prepare import prepare_model
from furiosa_ep.quantization.presets import Preset
from furiosa_ep.quantization.quantizer import calibrated_values, quantize_scheme
from furiosa_ep.quantization.ranges import check_ranges
from furiosa_ep.quantization.samples import Feed
from furiosa_ep.quantization.units import find_scheme


class CalibrationMethod(IntEnum):
    """How ranges are found (docs/quantization.md). Those of SYM are symmetric around zero."""

    MIN_MAX_ASYM = 0
    MIN_MAX_SYM = 1
    ENTROPY_ASYM = 2
    ENTROPY_SYM = 3
    PERCENTILE_ASYM = 4
    PERCENTILE_SYM = 5
    MSE_ASYM = 6
    MSE_SYM = 7
    SQNR_ASYM = 8
    SQNR_SYM = 9


_NAMES = {
    CalibrationMethod.MIN_MAX_ASYM: "extremes",
    CalibrationMethod.MIN_MAX_SYM: "extremes-sym",
    CalibrationMethod.ENTROPY_ASYM: "entropy",
    CalibrationMethod.ENTROPY_SYM: "entropy-sym",
    CalibrationMethod.MSE_ASYM: "mse",
    CalibrationMethod.MSE_SYM: "mse-sym",
    CalibrationMethod.SQNR_ASYM: "sqnr",
    CalibrationMethod.SQNR_SYM: "sqnr-sym",
}


class Calibrator:
    """Finds the ranges of a float model's values over the samples that it is given.

    `percentage` is that of all numbers which the ranges of PERCENTILE_ASYM and PERCENTILE_SYM hold.

    Raises `QuantizationError` for a model that cannot be read or is quantized already.
    """

    def __init__(
        self,
        model: onnx.ModelProto | bytes,
        calibration_method: CalibrationMethod,
        *,
        percentage: float = PERCENTAGE,
    ) -> None:
        method = CalibrationMethod(calibration_method)
        if method in _NAMES:
            calibrator = find_calibrator(_NAMES[method])
        else:
            calibrator = percentile(percentage, method is CalibrationMethod.PERCENTILE_SYM)
        scheme = find_scheme(prepare_model(model))
        self._inputs = get_pure_input_names(scheme.model)
        # A ModelEditor may come later, and need the ranges of what is in float.
        more = (name for name in float_borders(scheme.model) if name not in scheme.sources)
        values = dict.fromkeys([*calibrated_values(scheme), *more])
        self._calibration = Calibration(scheme.model, list(values), calibrator)

    def collect_data(
        self, calibration_dataset: Iterable[Sequence[npt.NDArray[np.generic]]]
    ) -> None:
        """Run the model on samples: the arrays of its inputs, in their order. Can be repeated.

        Raises:
            QuantizationError: for a sample that the model does not take, or that makes it compute
                NaN or infinity; the last samples of a call may be found wrong by the next call.
        """
        self._calibration.collect(self._feeds(calibration_dataset))

    def compute_range(self, verbose: bool = False) -> dict[str, tuple[float, float]]:
        """The ranges, by the names of values, as `quantize` takes them and JSON keeps them.

        `verbose` shows a progress bar on a terminal.

        Raises:
            RuntimeError: where no sample has been collected.
            QuantizationError: like `collect_data`.
        """
        if not self._calibration.samples:
            raise RuntimeError("no calibration data: call collect_data before compute_range")
        ranges = self._calibration.ranges("Computing ranges" if verbose else None)
        return {name: (low, high) for name, (low, high) in ranges.items()}

    def _feeds(self, samples: Iterable[Sequence[npt.NDArray[np.generic]]]) -> Iterator[Feed]:
        for number, arrays in enumerate(samples, self._calibration.samples):
            if len(arrays) != len(self._inputs):
                raise QuantizationError(
                    f"calibration sample {number} has {len(arrays)} arrays, expected one for each "
                    f"of the inputs {', '.join(self._inputs)}"
                )
            yield dict(zip(self._inputs, arrays, strict=True))


def quantize(model: onnx.ModelProto | bytes, ranges: Mapping[str, Sequence[float]]) -> bytes:
    """Return the model as a QDQ model, as bytes of ONNX.

    `ranges` are those of `Calibrator.compute_range` and may have been JSON; other names than those
    of quantized values are left out of account. Changes of a `ModelEditor` are carried out.

    Raises `QuantizationError` for a model that cannot be read or is quantized already, and for a
    range that is missing or none.
    """
    scheme = find_scheme(prepare_model(model))
    known = {name: ranges[name] for name in calibrated_values(scheme) if name in ranges}
    return bytes(
        quantize_scheme(scheme, (), Preset(), Given(check_ranges(known))).SerializeToString()
    )

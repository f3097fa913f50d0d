"""Calibration data: samples of what a model will see, in every form that it may have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from furiosa_ep.quantization.errors import QuantizationError

Array: TypeAlias = npt.NDArray[Any]
Feed: TypeAlias = dict[str, Array]


@runtime_checkable
class DataReader(Protocol):
    """What ONNX Runtime calls a CalibrationDataReader: one input dict a call, then None."""

    def get_next(self) -> Mapping[str, Array] | None:
        """The next sample, or None when there are no more."""


CalibrationData: TypeAlias = Iterable[npt.ArrayLike | Mapping[str, npt.ArrayLike]] | DataReader
"""Arrays (for a model of one input), dicts from input name to array, or a data reader."""


def feeds(
    data: CalibrationData, inputs: Sequence[onnx.ValueInfoProto], first: int = 0
) -> Iterator[Feed]:
    """The samples as a session takes them, one at a time, so that they need not fit in memory.

    Arrays are copies in the input's dtype. `first` is the number of the first sample.

    Raises:
        QuantizationError: where a sample does not fit the inputs.
    """
    names = [value.name for value in inputs]
    source = iter(data.get_next, None) if isinstance(data, DataReader) else iter(data)
    for number, item in enumerate(source, first):
        if not isinstance(item, Mapping):
            if len(names) != 1:
                raise QuantizationError(
                    f"calibration sample {number} is one array, but the model has the inputs "
                    f"{', '.join(names)}: give a dict from input name to array"
                )
            item = {names[0]: item}
        if set(item) != set(names):
            raise QuantizationError(
                f"calibration sample {number} has the inputs {', '.join(sorted(item))}, "
                f"the model has {', '.join(sorted(names))}"
            )
        yield {
            value.name: _fitting(item[value.name], value, f"calibration sample {number}")
            for value in inputs
        }


def _fitting(given: npt.ArrayLike, value: onnx.ValueInfoProto, sample: str) -> Array:
    """A copy of the array as the input takes it."""
    what, kind = f"{sample}: input {value.name!r}", value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    try:
        array = np.asarray(given)
    except ValueError as error:  # lists of different lengths
        raise QuantizationError(f"{what} is no array: {error}") from error
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise QuantizationError(f"{what} is {array.dtype}, the model takes {dtype}")
    if kind.HasField("shape") and not _fits(array.shape, kind.shape):
        expected = "x".join(str(d.dim_value or d.dim_param or "?") for d in kind.shape.dim)
        raise QuantizationError(
            f"{what} has the shape {'x'.join(map(str, array.shape)) or 'of a scalar'}, "
            f"the model takes {expected or 'a scalar'}"
        )
    return np.array(array, dtype, order="C")


def _fits(shape: Sequence[int], declared: onnx.TensorShapeProto) -> bool:
    """Whether a shape is the declared one, in which open dimensions have the value 0."""
    return len(shape) == len(declared.dim) and all(
        dim.dim_value in (0, size) for size, dim in zip(shape, declared.dim, strict=True)
    )

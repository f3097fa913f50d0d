"""Calibration data: samples of what a model will see, in every form that it may have."""

import contextlib
import io
import itertools
import operator
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Protocol, TypeAlias, cast, runtime_checkable

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


class Samples:
    """The samples as a session takes them, as often as they are iterated over.

    Data that can be iterated over once only, such as an iterator or a data reader, are taken once,
    one sample at a time, and kept in a temporary file without a name for later passes.

    Raises:
        QuantizationError: while iterating, where a sample does not fit the inputs.
    """

    def __init__(
        self,
        data: CalibrationData,
        inputs: Sequence[onnx.ValueInfoProto],
        limit: int | None = None,
    ) -> None:
        """Samples for these inputs of a model; the first `limit` of them if that is given."""
        self._data, self._inputs, self._limit = data, inputs, limit
        self._spool = _Spool(feeds(data, inputs), inputs) if passes_once(data) else None

    def __iter__(self) -> Iterator[Feed]:
        found = feeds(self._data, self._inputs) if self._spool is None else iter(self._spool)
        return itertools.islice(found, self._limit)

    def __length_hint__(self) -> int:
        known = known_length(self._data)
        return known if self._limit is None else min(known, self._limit)


def known_length(data: object) -> int:
    """How many items there are, or 0 if that is not known."""
    try:
        return operator.length_hint(data)
    except NotImplementedError:  # ONNX Runtime's CalibrationDataReader has such a __len__
        return 0


def feeds(
    data: CalibrationData, inputs: Sequence[onnx.ValueInfoProto], first: int = 0
) -> Iterator[Feed]:
    """The samples as a session takes them, one at a time, so that they need not fit in memory.

    Arrays are copies in the input's dtype. `first` is the number of the first sample.

    Raises:
        QuantizationError: where a sample does not fit the inputs.
    """
    names = [value.name for value in inputs]
    for number, item in enumerate(items(data), first):
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


def items(data: CalibrationData) -> Iterator[npt.ArrayLike | Mapping[str, npt.ArrayLike]]:
    """The samples as they are given.

    Raises:
        QuantizationError: for what holds no samples.
    """
    if isinstance(data, DataReader):
        return iter(data.get_next, None)
    if not isinstance(data, str | bytes | Mapping):
        with contextlib.suppress(TypeError):
            return iter(data)
    raise QuantizationError(
        f"calibration data of type {type(data).__name__}: expected samples in a list, an iterator "
        "or a data reader; each is an array or a dict from input name to array"
    )


def passes_once(data: CalibrationData) -> bool:
    """Whether the samples can be iterated over but once."""
    return isinstance(data, DataReader | Iterator)


class _Spool:
    """Feeds that come once, in a file for whoever wants them again."""

    def __init__(self, source: Iterator[Feed], inputs: Sequence[onnx.ValueInfoProto]) -> None:
        self._source = source
        self._dtypes = {value.name: _dtype(value) for value in inputs}
        self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # until nobody reads
        weakref.finalize(self, self._file.close)
        self._offsets: list[int] = []

    def __iter__(self) -> Iterator[Feed]:
        for number in itertools.count():
            if number < len(self._offsets):
                yield self._read(self._offsets[number])
                continue
            feed = next(self._source, None)
            if feed is None:
                return
            self._write(feed)
            yield feed

    def _write(self, feed: Feed) -> None:
        offset = self._file.seek(0, io.SEEK_END)
        for name, dtype in self._dtypes.items():
            array = feed[name].astype(str) if dtype.kind == "O" else feed[name]
            np.save(self._file, array, allow_pickle=False)
        self._offsets.append(offset)

    def _read(self, offset: int) -> Feed:
        self._file.seek(offset)
        return {name: _restored(np.load(self._file), dtype) for name, dtype in self._dtypes.items()}


def _restored(array: Array, dtype: np.dtype[Any]) -> Array:
    """An array from a file, in which strings have a length and bfloat16 is raw bytes."""
    return array.astype(dtype) if dtype.kind == "O" else array.view(dtype)


def _dtype(value: onnx.ValueInfoProto) -> np.dtype[Any]:
    return helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _fitting(given: npt.ArrayLike, value: onnx.ValueInfoProto, sample: str) -> Array:
    """A copy of the array as the input takes it."""
    what, kind = f"{sample}: input {value.name!r}", value.type.tensor_type
    dtype = _dtype(value)
    try:
        array = np.asarray(given)
    except ValueError as error:  # lists of different lengths
        raise QuantizationError(f"{what} is no array: {error}") from error
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise QuantizationError(f"{what} is {array.dtype}, the model takes {dtype}")
    if kind.HasField("shape") and not _fits(array.shape, kind.shape):
        expected = shape_text(kind.shape) or "a scalar"
        raise QuantizationError(
            f"{what} has the shape {'x'.join(map(str, array.shape)) or 'of a scalar'}, "
            f"the model takes {expected}"
        )
    return np.array(array, dtype, order="C")


def shape_text(shape: onnx.TensorShapeProto) -> str:
    """A declared shape as people read it, like 1x3xHx?; "" for that of a scalar."""
    return "x".join(str(dim.dim_value or dim.dim_param or "?") for dim in shape.dim)


def _fits(shape: Sequence[int], declared: onnx.TensorShapeProto) -> bool:
    """Whether a shape is the declared one, in which open dimensions have the value 0."""
    return len(shape) == len(declared.dim) and all(
        dim.dim_value in (0, size) for size, dim in zip(shape, declared.dim, strict=True)
    )

"""Random inputs that fit a model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[Any]
Feed = dict[str, Array]

OPEN_BATCH = 1
"""The length of a first dimension that the model leaves open."""
OPEN_DIMENSION = 64
"""The length of any other dimension that it leaves open."""

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(uint32)": np.uint32,
    "tensor(int32)": np.int32,
    "tensor(uint64)": np.uint64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_BYTES = {"uint8": (0, 255), "int8": (-128, 127)}


class InputError(ValueError):
    """Inputs do not fit the model, or cannot be made up for it; the message says which and why."""


class ModelInput(Protocol):
    """An input as `InferenceSession.get_inputs` describes it."""

    @property
    def name(self) -> str:
        """Its name in the graph."""

    @property
    def type(self) -> str:
        """Its type as ONNX Runtime writes it, like tensor(float)."""

    @property
    def shape(self) -> Sequence[int | str | None]:
        """Its dimensions; a name or None where the model leaves one open."""


def random_feeds(
    inputs: Sequence[ModelInput],
    count: int,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Iterator[Feed]:
    """Yield `count` feeds, the same for the same seed.

    Floats are uniform in `ranges` where it has the input, otherwise normal; 8-bit integers take all
    values, others 0 and 1, which are valid as indices and masks. `shapes` gives whole shapes;
    dimensions that stay open are `OPEN_BATCH` or `OPEN_DIMENSION` long.

    Raises:
        InputError: for a shape of an unknown input or of another rank, and for inputs that are no
            numeric tensors.
    """
    shapes, ranges = shapes or {}, ranges or {}
    unknown = sorted({*shapes} - {value.name for value in inputs})
    if unknown:
        names = ", ".join(value.name for value in inputs)
        raise InputError(f"no input {unknown[0]!r}; the model has {names}")
    resolved = [(value, _shape(value, shapes.get(value.name))) for value in inputs]
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield {
            value.name: _random_array(random, value, shape, ranges.get(value.name))
            for value, shape in resolved
        }


def _shape(value: ModelInput, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        return tuple(
            dim if isinstance(dim, int) and dim >= 0 else (OPEN_DIMENSION if axis else OPEN_BATCH)
            for axis, dim in enumerate(value.shape)
        )
    fits = len(given) == len(value.shape) and all(
        not isinstance(dim, int) or dim < 0 or dim == length
        for dim, length in zip(value.shape, given, strict=True)
    )
    if not fits:
        raise InputError(
            f"input {value.name!r}: the shape {list(given)} does not fit the model's "
            f"{list(value.shape)}"
        )
    return tuple(given)


def _random_array(
    random: np.random.Generator,
    value: ModelInput,
    shape: tuple[int, ...],
    limits: tuple[float, float] | None,
) -> Array:
    dtype = _DTYPES.get(value.type)
    if dtype is None:
        raise InputError(
            f"input {value.name!r} is a {value.type}, for which no random values can be made: "
            "give the inputs in a file"
        )
    kind = np.dtype(dtype)
    if kind.kind == "f":
        if limits is not None:
            return random.uniform(*limits, shape).astype(kind)
        return random.standard_normal(shape).astype(kind)
    if kind.name in _BYTES:
        return random.integers(*_BYTES[kind.name], shape, kind, endpoint=True)
    return random.integers(0, 2, shape).astype(kind)


def quantized_ranges(model: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    """For each float input that is quantized first of all, a little more than what it can hold."""
    constants = {value.name: value for value in model.graph.initializer}
    inputs = {value.name for value in model.graph.input}
    ranges = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in inputs or len(node.input) < 3:
            continue
        parameters = [constants.get(name) for name in node.input[1:3]]
        if any(parameter is None or math.prod(parameter.dims) != 1 for parameter in parameters):
            continue
        scale, zero_point = (numpy_helper.to_array(p) for p in parameters if p is not None)
        if zero_point.dtype.name in _BYTES:
            least, most = _BYTES[zero_point.dtype.name]
            step, zero = float(scale.item()), int(zero_point.item())
            ranges[node.input[0]] = (step * (least - 4 - zero), step * (most + 4 - zero))
    return ranges

"""Tensors for `Kernel.cases`: calls that hold native functions against the reference."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from furiosa_ep.kernels.kernel import Array, KernelTensor

_DTYPES = {
    "u8": np.uint8,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "f32": np.float32,
    "bool": np.bool_,
}
_PLAIN_SHARE = 0.25
"""How many tensors hold one value only, or nothing but the least and the greatest one."""


def random_tensor(
    random: "np.random.Generator", shape: Sequence[int], dtype: str = "u8"
) -> KernelTensor:
    """A tensor with random values, and a random quantization where it is 8-bit.

    Some tensors hold one value everywhere, or the least and the greatest value only: those are
    where kernels divide by zero and saturate.

    Args:
        random: makes the values.
        shape: of the tensor.
        dtype: as in `Kernel.operands`.

    Raises:
        ValueError: for another dtype.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype {dtype!r}: expected one of {', '.join(_DTYPES)}")
    array = _values(random, tuple(shape), np.dtype(_DTYPES[dtype]))
    if dtype != "u8":
        return KernelTensor(array)
    zero_point = int(random.choice([0, 128, 255, int(random.integers(256))]))
    if random.random() < _PLAIN_SHARE:
        array[...] = random.choice([zero_point, 0, 255])
    return KernelTensor(array, np.float32(2.0 ** random.uniform(-9, 1)), zero_point)


def _values(random: "np.random.Generator", shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Array:
    if dtype.kind == "f":
        return random.normal(0, 4, shape).astype(dtype)
    if dtype.kind == "b":
        return random.integers(2, size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    if random.random() < _PLAIN_SHARE:
        return random.choice(np.array([limits.min, limits.max], dtype), shape)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)

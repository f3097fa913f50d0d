"""Element types of ONNX tensors, and the NumPy dtypes with the same elements."""

import enum
from typing import Any

import numpy as np


class ElementType(enum.IntEnum):
    """onnx.TensorProto.DataType, which takes importing onnx to know."""

    UNDEFINED = 0
    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20
    UINT4 = 21
    INT4 = 22
    FLOAT4E2M1 = 23
    FLOAT8E8M0 = 24
    UINT2 = 25
    INT2 = 26
    FLOAT6E2M3 = 27
    FLOAT6E3M2 = 28


NUMPY_DTYPES: dict[int, np.dtype[Any]] = {
    ElementType.FLOAT: np.dtype("<f4"),
    ElementType.UINT8: np.dtype("u1"),
    ElementType.INT8: np.dtype("i1"),
    ElementType.UINT16: np.dtype("<u2"),
    ElementType.INT16: np.dtype("<i2"),
    ElementType.INT32: np.dtype("<i4"),
    ElementType.INT64: np.dtype("<i8"),
    ElementType.BOOL: np.dtype("?"),
    ElementType.FLOAT16: np.dtype("<f2"),
    ElementType.DOUBLE: np.dtype("<f8"),
    ElementType.UINT32: np.dtype("<u4"),
    ElementType.UINT64: np.dtype("<u8"),
    ElementType.COMPLEX64: np.dtype("<c8"),
    ElementType.COMPLEX128: np.dtype("<c16"),
}
"""The types that NumPy itself has, as TensorProto.raw_data holds them."""


def element_name(dtype: int) -> str:
    """The name of an element type in lower case, such as "uint8"."""
    try:
        return ElementType(dtype).name.lower()
    except ValueError:
        return f"element type {dtype}"


def numpy_dtype(dtype: int) -> np.dtype[Any]:
    """The dtype of NumPy, or of a package that extends it, for an element type.

    Raises:
        KeyError: where there is none.
    """
    found = NUMPY_DTYPES.get(dtype)
    if found is not None:
        return found
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(dtype)

"""The structures of furiosa_ep.h that kernels are registered and called with, for ctypes."""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.kernel import KernelTensor
from furiosa_ep.program import DType

KERNEL_VERSION = 1
STRIDED, HOLDS_GIL = 1, 2
"""Flags of KernelRecord."""


class TensorRecord(ctypes.Structure):
    """furiosa_tensor of furiosa_ep.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_uint32),
        ("dtype", ctypes.c_uint32),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
    ]


class AttributeRecord(ctypes.Union):
    """furiosa_attribute of furiosa_ep.h."""

    _fields_ = [("integer", ctypes.c_int64), ("real", ctypes.c_double)]


class FrameRecord(ctypes.Structure):
    """furiosa_kernel_frame of furiosa_ep.h."""


TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
PARALLEL_FOR = ctypes.CFUNCTYPE(
    None, ctypes.POINTER(FrameRecord), ctypes.c_size_t, TASK, ctypes.c_void_p
)
KERNEL_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(FrameRecord))

FrameRecord._fields_ = [
    ("version", ctypes.c_uint32),
    ("size", ctypes.c_uint32),
    ("inputs", ctypes.POINTER(TensorRecord)),
    ("input_count", ctypes.c_size_t),
    ("outputs", ctypes.POINTER(TensorRecord)),
    ("output_count", ctypes.c_size_t),
    ("attributes", ctypes.POINTER(AttributeRecord)),
    ("attribute_count", ctypes.c_size_t),
    ("workspace", ctypes.c_void_p),
    ("workspace_size", ctypes.c_size_t),
    ("error", ctypes.c_void_p),
    ("error_size", ctypes.c_size_t),
    ("parallel_for", PARALLEL_FOR),
    ("executor", ctypes.c_void_p),
    ("concurrency", ctypes.c_size_t),
]


class KernelRecord(ctypes.Structure):
    """furiosa_kernel of furiosa_ep.h."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("version", ctypes.c_uint32),
        ("plugin", ctypes.c_char_p),
        ("opcode", ctypes.c_char_p),
        ("operands", ctypes.c_char_p),
        ("attributes", ctypes.c_char_p),
        ("isa", ctypes.c_char_p),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("run", KERNEL_FUNCTION),
    ]


def kernel_tensor(record: Any) -> KernelTensor | None:
    """The view of memory that a TensorRecord describes; None for an absent operand."""
    if not record.dtype:
        return None
    dtype = DType(record.dtype).numpy
    dims = tuple(record.dims[: record.rank])
    strides = tuple(stride * dtype.itemsize for stride in record.strides[: record.rank])
    array: npt.NDArray[Any] = np.empty(dims, dtype)
    if array.size:
        reaches = [(dim - 1) * stride for dim, stride in zip(dims, strides, strict=True)]
        below = sum(reach for reach in reaches if reach < 0)
        size = sum(map(abs, reaches)) + dtype.itemsize
        memory = (ctypes.c_uint8 * size).from_address(record.data + below)
        array = np.ndarray(dims, dtype, memory, -below, strides)
    return KernelTensor(array, np.float32(record.scale), record.zero_point)


def tensor_record(tensor: KernelTensor | None) -> TensorRecord:
    """The TensorRecord of an array, which has to live as long as it is used."""
    if tensor is None:
        return TensorRecord(scale=1)
    array = tensor.array
    rank = array.ndim
    return TensorRecord(
        data=array.ctypes.data,
        dims=(ctypes.c_int64 * rank)(*array.shape),
        strides=(ctypes.c_int64 * rank)(*[one // array.itemsize for one in array.strides]),
        rank=rank,
        dtype=_dtype_number(array.dtype),
        scale=tensor.scale,
        zero_point=tensor.zero_point,
    )


def _dtype_number(dtype: np.dtype[Any]) -> int:
    for one in DType:
        if one.numpy == dtype:
            return one.value
    raise ValueError(f"an array of {dtype}: expected one of {', '.join(one.name for one in DType)}")

"""The C structures of compiler_callbacks.h for plugins' operators, and what they hold."""

import ctypes
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph.element_type import element_name, numpy_dtype
from furiosa_ep.provider.callbacks import OperatorError

if TYPE_CHECKING:
    from furiosa_ep.partitioner.schema import Schema, SchemaValue, Shape

Array = npt.NDArray[Any]

_Record = TypeVar("_Record", bound=ctypes.Structure)

_REQUIRED, _OPTIONAL, _VARIADIC = range(3)
_INT, _STRING, _TENSOR, _FLOATS, _INTS = 2, 3, 4, 6, 7
"""Of onnx.AttributeProto.AttributeType."""


@dataclass(frozen=True)
class Unexpected:
    """An attribute of another type than the schema says."""

    type: int


class TensorRecord(ctypes.Structure):
    """FuriosaTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
        ("symbols", ctypes.POINTER(ctypes.c_char_p)),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
    ]


class AttributeRecord(ctypes.Structure):
    """FuriosaAttribute."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("count", ctypes.c_uint64),
        ("type", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class OperandRecord(ctypes.Structure):
    """FuriosaOperand."""

    _fields_ = [
        ("dtype", ctypes.c_int32),
        ("presence", ctypes.c_int32),
        ("least", ctypes.c_int32),
        ("source", ctypes.c_int32),
    ]


class AttributeTypeRecord(ctypes.Structure):
    """FuriosaAttributeType."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class OperatorRecord(ctypes.Structure):
    """FuriosaOperator."""

    _fields_ = [
        ("handle", ctypes.c_uint64),
        ("domain", ctypes.c_char_p),
        ("type", ctypes.c_char_p),
        ("inputs", ctypes.POINTER(OperandRecord)),
        ("outputs", ctypes.POINTER(OperandRecord)),
        ("attributes", ctypes.POINTER(AttributeTypeRecord)),
        ("input_count", ctypes.c_uint32),
        ("output_count", ctypes.c_uint32),
        ("attribute_count", ctypes.c_uint32),
        ("since", ctypes.c_int32),
        ("infers_shapes", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class NodeRecord(ctypes.Structure):
    """FuriosaNode."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("outputs", ctypes.POINTER(ctypes.c_char_p)),
        ("output_dtypes", ctypes.POINTER(ctypes.c_int32)),
        ("attributes", ctypes.c_void_p),
        ("output_count", ctypes.c_uint64),
        ("attribute_count", ctypes.c_uint64),
    ]


def operator_records(schema: "Schema", handle: int) -> Iterator[OperatorRecord]:
    """An operator in each combination of types."""
    attributes = schema.attribute_list
    types = (AttributeTypeRecord * len(attributes))(
        *(AttributeTypeRecord(one.name.encode(), one.type) for one in attributes)
    )
    for choice in schema.type_choices():
        inputs = [_operand(value, choice[value.types]) for value in schema.inputs]
        outputs = [
            _operand(value, choice[value.types], schema.type_source(value))
            for value in schema.outputs
        ]
        yield OperatorRecord(
            handle,
            schema.domain.encode(),
            schema.op_type.encode(),
            (OperandRecord * len(inputs))(*inputs),
            (OperandRecord * len(outputs))(*outputs),
            types,
            len(inputs),
            len(outputs),
            len(attributes),
            schema.since,
            schema.shape is not None,
        )


def _operand(value: "SchemaValue", dtype: int, source: int | None = None) -> OperandRecord:
    presence = _VARIADIC if value.variadic else _OPTIONAL if value.optional else _REQUIRED
    return OperandRecord(dtype, presence, value.least, -1 if source is None else source)


def read_attributes(address: int | None, count: int) -> dict[str, Any]:
    """The attributes of a node by name; `Unexpected` where the type is not the schema's."""
    records = _items(AttributeRecord, address, count)
    return {one.name.decode(): _read_attribute(one) for one in records}


def read_shapes(address: int | None, count: int) -> "list[Shape]":
    """What is known of the shapes of tensors."""
    return [_read_shape(one) for one in _items(TensorRecord, address, count)]


def read_arrays(address: int | None, count: int) -> list[Array | None]:
    """Read-only views of tensors; None for one that is absent.

    Raises:
        OperatorError: where NumPy has no such elements.
    """
    return [_read_array(one) for one in _items(TensorRecord, address, count)]


def _items(record: type[_Record], address: int | None, count: int) -> "Iterable[_Record]":
    return (record * count).from_address(address) if address else ()


def _read_attribute(record: AttributeRecord) -> Any:
    if record.data is None:
        return Unexpected(record.type)
    if record.type == _TENSOR:
        # The memory goes before the kernel does.
        return np.array(_read_array(TensorRecord.from_address(record.data)))
    if record.type == _STRING:
        return ctypes.string_at(record.data, record.count).decode("utf-8", "replace")
    element = ctypes.c_int64 if record.type in (_INT, _INTS) else ctypes.c_float
    values = list((element * record.count).from_address(record.data))
    return values if record.type in (_FLOATS, _INTS) else values[0]


def _read_array(record: TensorRecord) -> Array | None:
    if not record.dtype:
        return None
    dtype = numpy_type(record.dtype)
    shape = tuple(record.dims[: record.rank])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    memory = memoryview((ctypes.c_char * size).from_address(record.data))
    array = np.frombuffer(memory, dtype).reshape(shape)
    array.flags.writeable = False
    return array


def numpy_type(dtype: int) -> np.dtype[Any]:
    """The dtype of NumPy for an element type.

    Raises:
        OperatorError: where there is none.
    """
    try:
        found = numpy_dtype(dtype)
    except KeyError:
        found = np.dtype(object)
    if found.hasobject:
        raise OperatorError(f"tensors of {element_name(dtype)} are not supported")
    return found


def _read_shape(record: TensorRecord) -> "Shape":
    if record.rank < 0:
        return None
    return tuple(
        record.dims[index] if record.dims[index] >= 0 else record.symbols[index].decode() or None
        for index in range(record.rank)
    )


def tensor_record(shape: "Shape", dtype: int = 0) -> TensorRecord:
    """A shape for the provider.

    Raises:
        Exception: where it is none.
    """
    if shape is None:
        return TensorRecord(rank=-1)
    dims = (ctypes.c_int64 * len(shape))(*map(_size, shape))
    symbols = (ctypes.c_char_p * len(shape))(
        *(dim.encode() if isinstance(dim, str) else b"" for dim in shape)
    )
    return TensorRecord(None, dims, symbols, len(shape), dtype)


def _size(dim: int | str | None) -> int:
    if dim is None or isinstance(dim, str):
        return -1
    size = operator.index(dim)
    if size < 0:
        raise ValueError(f"a dim of {size}")
    return size

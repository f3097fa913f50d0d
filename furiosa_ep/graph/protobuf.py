"""Protobuf's wire format: a message as its fields, and back.

For the messages that ONNX Runtime and the compiler exchange while a session is created: to import
onnx for them would take longer, and more memory, than compiling a small model.
"""

from collections.abc import Iterator
from typing import TypeAlias

Message: TypeAlias = bytes | memoryview
Field: TypeAlias = tuple[int, int | memoryview]
"""Number and value: an int of a varint, otherwise bytes."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ProtobufError(ValueError):
    """Bytes that are no protobuf message."""


def fields(message: Message) -> Iterator[Field]:
    """The fields of a message in the order of its bytes, of which the values are views.

    Raises:
        ProtobufError: where the bytes are no message.
    """
    data = memoryview(message)
    position, end = 0, len(data)
    while position < end:
        key = data[position]  # Most numbers are one byte; a call for each would double the time.
        position += 1
        if key > 0x7F:
            key, position = _varint(data, position - 1)
        kind = key & 7
        if kind == _VARINT:
            number, position = _varint(data, position)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size = data[position] if position < end else 0x80
            position += 1
            if size > 0x7F:
                size, position = _varint(data, position - 1)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ProtobufError(f"field {key >> 3} has wire type {kind}")
        start, position = position, position + size
        if position > end:
            raise ProtobufError(f"field {key >> 3} passes the end of its message")
        yield key >> 3, data[start:position]


def integers(value: int | memoryview) -> Iterator[int]:
    """The values of a repeated int64 field, which may be packed."""
    if isinstance(value, int):
        yield signed(value)
        return
    position = 0
    while position < len(value):
        number, position = _varint(value, position)
        yield signed(number)


def signed(number: int) -> int:
    """The int64 that a varint stands for."""
    return number - (1 << 64) if number >> 63 else number


def text(value: int | memoryview) -> str:
    """A string field."""
    return str(view(value), "utf-8")


def view(value: int | memoryview) -> memoryview:
    """A field that holds bytes or a message."""
    if isinstance(value, int):
        raise ProtobufError("a number where bytes are expected")
    return value


def number(value: int | memoryview) -> int:
    """A field that holds an int64."""
    if not isinstance(value, int):
        raise ProtobufError("bytes where a number is expected")
    return signed(value)


def integer_field(field: int, value: int) -> bytes:
    """A field that holds an integer."""
    return _encoded(field << 3 | _VARINT) + _encoded(value & (2**64 - 1))


def bytes_field(field: int, value: Message | str) -> bytes:
    """A field that holds bytes, a string or a message."""
    data = value.encode() if isinstance(value, str) else bytes(value)
    return _encoded(field << 3 | _BYTES) + _encoded(len(data)) + data


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    try:
        number = data[position]
        position += 1
        if number < 0x80:
            return number, position
        number &= 0x7F
        for shift in range(7, 70, 7):
            byte = data[position]
            position += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number & (2**64 - 1), position
    except IndexError:
        raise ProtobufError("a number passes the end of its message") from None
    raise ProtobufError("a number of more than ten bytes")


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

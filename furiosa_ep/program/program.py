"""A Program as dataclasses, and as the bytes that the native executor maps.

The layout of the bytes (little-endian) is the NumPy record types below, in this order: `HEADER`,
`TENSOR` per tensor, `COMMAND` per command, the words (uint64) that hold attributes, the operand
indices (uint32), `BINDING` per input and per output, `EVENT` per event of the schedule, the names
(UTF-8), the constants. Every section starts on a multiple of 64 bytes.
"""

import enum
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from furiosa_ep.program.opcodes import NAMES, OPCODES
from furiosa_ep.program.schedule import EVENT, Schedule, read_events

MAGIC = b"FURIOSAP"
VERSION = 2
MAX_RANK = 8
ALIGNMENT = 64
ABSENT = 0xFFFFFFFF
"""The operand index of an optional operand that is not there."""

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("reserved", "<u4"),
        ("checksum", "<u8"),
        ("size", "<u8"),
        ("arena_size", "<u8"),
        ("tensors", "<u4"),
        ("commands", "<u4"),
        ("words", "<u4"),
        ("operands", "<u4"),
        ("inputs", "<u4"),
        ("outputs", "<u4"),
        ("names_size", "<u8"),
        ("constants_size", "<u8"),
        ("events", "<u4"),
        ("pes", "<u4"),
        ("clock_hz", "<u8"),
        ("dram_bytes", "<u8"),
        ("target_offset", "<u4"),
        ("target_size", "<u4"),
    ]
)
CHECKED_FROM = 24
"""The checksum covers everything from this byte on: all that follows the checksum itself."""

TENSOR = np.dtype(
    [
        ("dtype", "u1"),
        ("storage", "u1"),
        ("rank", "u1"),
        ("reserved", "u1"),
        ("index", "<u4"),
        ("offset", "<u8"),
        ("dims", "<i8", (MAX_RANK,)),
        ("strides", "<i8", (MAX_RANK,)),
    ]
)
COMMAND = np.dtype(
    [
        ("opcode", "<u2"),
        ("operand_count", "<u2"),
        ("word_count", "<u4"),
        ("first_operand", "<u4"),
        ("first_word", "<u4"),
        ("name_offset", "<u4"),
        ("name_size", "<u4"),
    ]
)
BINDING = np.dtype(
    [
        ("dtype", "u1"),
        ("rank", "u1"),
        ("reserved", "u1", (6,)),
        ("dims", "<i8", (MAX_RANK,)),
        ("name_offset", "<u4"),
        ("name_size", "<u4"),
    ]
)


class ProgramError(ValueError):
    """Bytes that are no valid Program, or a Program that cannot be written."""


class DType(enum.IntEnum):
    """Element types of tensors, numbered as in onnx.TensorProto."""

    F32 = 1
    U8 = 2
    I8 = 3
    I16 = 5
    I32 = 6
    I64 = 7
    BOOL = 9

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype with the same elements."""
        return np.dtype(_NUMPY[self])


_NUMPY = {
    DType.F32: "f4",
    DType.U8: "u1",
    DType.I8: "i1",
    DType.I16: "i2",
    DType.I32: "i4",
    DType.I64: "i8",
    DType.BOOL: "?",
}


class Storage(enum.IntEnum):
    """Where the bytes of a tensor are."""

    ARENA = 0
    CONSTANT = 1
    INPUT = 2
    OUTPUT = 3


@dataclass(frozen=True)
class Tensor:
    """A strided view of a storage: dims and strides in elements, outermost dim first."""

    dtype: DType
    storage: Storage
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    """Bytes from the start of the storage to the element with all indices zero."""
    index: int = 0
    """Which input or output, where the storage is one."""


@dataclass(frozen=True)
class Command:
    """One step of the device: an opcode on operands (the inputs, then the result)."""

    opcode: str
    operands: tuple[int | None, ...]
    """Tensor indices; None for an optional operand that is absent."""
    attributes: Mapping[str, int | float | tuple[int, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    name: str = ""
    """The ONNX nodes that it came from, for people."""

    def __post_init__(self) -> None:
        schema = OPCODES.get(self.opcode)
        if schema is None:
            raise ProgramError(f"opcode {self.opcode!r}: expected one of {', '.join(OPCODES)}")
        more = len(self.operands) - len(schema.inputs) - 1
        if more < 0 or (more and not schema.variadic_input):
            several = [f"any {schema.variadic_input}"] if schema.variadic_input else []
            raise ProgramError(
                f"{self.opcode} {self.name}: {len(self.operands)} operands, expected "
                f"{', '.join([*schema.inputs, *several])} and the result"
            )
        for operand, name in zip(self.operands, schema.inputs, strict=False):
            if operand is None and name not in schema.optional:
                raise ProgramError(f"{self.opcode} {self.name}: operand {name!r} is missing")
        expected = {*schema.attributes, *([schema.variadic] if schema.variadic else [])}
        if set(self.attributes) != expected:
            raise ProgramError(
                f"{self.opcode} {self.name}: attributes {sorted(self.attributes)}, "
                f"expected {sorted(expected)}"
            )

    def words(self) -> list[int]:
        """The attributes as the 64-bit words that a Program stores."""
        schema = OPCODES[self.opcode]
        words = [
            _float_word(float(self.attributes[name]))  # type: ignore[arg-type]
            if name in schema.floats
            else int(self.attributes[name]) & (2**64 - 1)  # type: ignore[arg-type]
            for name in schema.attributes
        ]
        if schema.variadic:
            words += [w & (2**64 - 1) for w in self.attributes[schema.variadic]]  # type: ignore[union-attr]
        return words


@dataclass(frozen=True)
class Binding:
    """An input or output of a Program as its user sees it: row-major, with the ONNX shape."""

    name: str
    dtype: DType
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Commands over tensors in an arena, with constants, inputs and outputs."""

    tensors: Sequence[Tensor]
    commands: Sequence[Command]
    inputs: Sequence[Binding]
    outputs: Sequence[Binding]
    constants: bytes | bytearray | memoryview
    arena_size: int
    schedule: Schedule = field(default_factory=Schedule)
    """What the device that it was compiled for would do when."""

    def kernel(self, command: Command) -> str:
        """The opcode of the kernel that a CALL command calls."""
        position = command.operands[0]
        if command.opcode != "CALL" or position is None:
            raise ProgramError(f"{command.opcode} {command.name}: expected a CALL of a kernel")
        tensor = self.tensors[position]
        return bytes(self.constants[tensor.offset :][: math.prod(tensor.dims)]).decode()

    def to_bytes(self, checksum: "Checksum") -> bytes:
        """The Program as bytes; `checksum` is the native library's (device_emulator.checksum)."""
        return _checked(bytearray().join((self._head(), self.constants)), checksum)

    def head(self, checksum: "Checksum") -> bytes:
        """What comes before the constants, with a checksum of its own."""
        return _checked(bytearray(self._head()), checksum)

    def _head(self) -> bytes:
        names = bytearray()

        def name_slot(name: str) -> tuple[int, int]:
            encoded = name.encode()
            names.extend(encoded)
            return len(names) - len(encoded), len(encoded)

        tensors = np.zeros(len(self.tensors), TENSOR)
        for record, tensor in zip(tensors, self.tensors, strict=True):
            rank = len(tensor.dims)
            if rank > MAX_RANK:
                raise ProgramError(f"tensor of rank {rank}: expected at most {MAX_RANK}")
            record["dtype"], record["storage"] = tensor.dtype, tensor.storage
            record["rank"], record["index"], record["offset"] = rank, tensor.index, tensor.offset
            record["dims"][:rank], record["strides"][:rank] = tensor.dims, tensor.strides
        commands = np.zeros(len(self.commands), COMMAND)
        words: list[int] = []
        operands: list[int] = []
        for record, command in zip(commands, self.commands, strict=True):
            own = command.words()
            record["opcode"] = OPCODES[command.opcode].number
            record["operand_count"], record["first_operand"] = len(command.operands), len(operands)
            record["word_count"], record["first_word"] = len(own), len(words)
            record["name_offset"], record["name_size"] = name_slot(command.name)
            words += own
            operands += [ABSENT if one is None else one for one in command.operands]
        bindings = np.zeros(len(self.inputs) + len(self.outputs), BINDING)
        for record, binding in zip(bindings, [*self.inputs, *self.outputs], strict=True):
            rank = len(binding.shape)
            if rank > MAX_RANK:
                raise ProgramError(f"{binding.name!r} of rank {rank}: expected at most {MAX_RANK}")
            record["dtype"], record["rank"] = binding.dtype, rank
            record["dims"][:rank] = binding.shape
            record["name_offset"], record["name_size"] = name_slot(binding.name)

        header = np.zeros(1, HEADER)
        header["magic"], header["version"] = MAGIC, VERSION
        header["arena_size"] = self.arena_size
        header["tensors"], header["commands"] = len(tensors), len(commands)
        header["words"], header["operands"] = len(words), len(operands)
        header["inputs"], header["outputs"] = len(self.inputs), len(self.outputs)
        schedule = self.schedule
        header["events"], header["pes"] = len(schedule.events), schedule.pes
        header["clock_hz"], header["dram_bytes"] = schedule.clock_hz, schedule.dram_bytes
        header["target_offset"], header["target_size"] = name_slot(schedule.target)
        header["names_size"], header["constants_size"] = len(names), len(self.constants)
        sections = [
            tensors.tobytes(),
            commands.tobytes(),
            np.array(words, "<u8").tobytes(),
            np.array(operands, "<u4").tobytes(),
            bindings.tobytes(),
            schedule.records().tobytes(),
            bytes(names),
        ]
        rest = b"".join(one + bytes(-len(one) % ALIGNMENT) for one in sections)
        padding = bytes(-HEADER.itemsize % ALIGNMENT)
        header["size"] = len(header.tobytes() + padding + rest) + len(self.constants)
        return header.tobytes() + padding + rest

    @classmethod
    def from_bytes(cls, data: bytes) -> "Program":
        """The Program in `data`, which the native library must have accepted before.

        Checks magic, version and size only: the executor validates everything else at load.

        Raises:
            ProgramError: where `data` is no Program of this version.
        """
        if len(data) < HEADER.itemsize or data[:8] != MAGIC:
            raise ProgramError(f"no Program: it starts with {data[:8]!r}, expected {MAGIC!r}")
        header = np.frombuffer(data, HEADER, 1)[0]
        if header["version"] != VERSION or header["size"] != len(data):
            raise ProgramError(
                f"Program of version {header['version']} and {header['size']} bytes: expected "
                f"version {VERSION} and {len(data)} bytes"
            )
        position = HEADER.itemsize

        def section(dtype: npt.DTypeLike, count: int) -> npt.NDArray[Any]:
            nonlocal position
            position += -position % ALIGNMENT
            array = np.frombuffer(data, dtype, count, position)
            position += array.nbytes
            return array

        tensors = section(TENSOR, int(header["tensors"]))
        commands = section(COMMAND, int(header["commands"]))
        words = section("<u8", int(header["words"]))
        operands = section("<u4", int(header["operands"]))
        bindings = section(BINDING, int(header["inputs"]) + int(header["outputs"]))
        events = section(EVENT, int(header["events"]))
        names = section("u1", int(header["names_size"])).tobytes()
        constants = section("u1", int(header["constants_size"]))

        def name(record: Any, of: str = "name") -> str:
            start = int(record[f"{of}_offset"])
            return names[start : start + int(record[f"{of}_size"])].decode()

        def binding(record: Any) -> Binding:
            shape = tuple(record["dims"][: record["rank"]].tolist())
            return Binding(name(record), DType(int(record["dtype"])), shape)

        def command(record: Any) -> Command:
            first, first_word = int(record["first_operand"]), int(record["first_word"])
            indices = operands[first : first + int(record["operand_count"])].tolist()
            opcode = NAMES[int(record["opcode"])]
            return Command(
                opcode,
                tuple(None if one == ABSENT else one for one in indices),
                _attributes(opcode, words[first_word : first_word + int(record["word_count"])]),
                name(record),
            )

        every = [binding(record) for record in bindings]
        return cls(
            tensors=[
                Tensor(
                    DType(int(record["dtype"])),
                    Storage(int(record["storage"])),
                    tuple(record["dims"][: record["rank"]].tolist()),
                    tuple(record["strides"][: record["rank"]].tolist()),
                    int(record["offset"]),
                    int(record["index"]),
                )
                for record in tensors
            ],
            commands=[command(record) for record in commands],
            inputs=every[: int(header["inputs"])],
            outputs=every[int(header["inputs"]) :],
            constants=constants.data,
            arena_size=int(header["arena_size"]),
            schedule=Schedule(
                name(header, "target"),
                int(header["clock_hz"]),
                int(header["pes"]),
                int(header["dram_bytes"]),
                read_events(events),
            ),
        )


def _checked(data: bytearray, checksum: "Checksum") -> bytes:
    digest = checksum(memoryview(data)[CHECKED_FROM:])
    struct.pack_into("<Q", data, HEADER.fields["checksum"][1], digest)  # type: ignore[index]
    return bytes(data)


def _float_word(value: float) -> int:
    return int.from_bytes(struct.pack("<f", value), "little")


def _attributes(
    opcode: str, words: npt.NDArray[np.uint64]
) -> dict[str, int | float | tuple[int, ...]]:
    schema = OPCODES[opcode]
    signed = words.view(np.int64).tolist()
    attributes: dict[str, int | float | tuple[int, ...]] = {}
    for name, word in zip(schema.attributes, signed, strict=False):
        is_float = name in schema.floats
        attributes[name] = struct.unpack("<f", struct.pack("<q", word)[:4])[0] if is_float else word
    if schema.variadic:
        attributes[schema.variadic] = tuple(signed[len(schema.attributes) :])
    return attributes


class Checksum(Protocol):
    """Protocol of a 64-bit checksum function over bytes."""

    def __call__(self, data: memoryview) -> int:
        """The checksum of `data`."""

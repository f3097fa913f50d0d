"""The executor: running, refusing and describing Programs."""

import dataclasses
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from furiosa_ep.device_emulator import Executable, checksum, run_reference
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.program import (
    OPCODES,
    Binding,
    Command,
    DType,
    Engine,
    Event,
    Program,
    ProgramError,
    Schedule,
    Storage,
    Tensor,
)
from furiosa_ep.program.program import CHECKED_FROM, COMMAND, HEADER, TENSOR

U8, F32, I8 = DType.U8, DType.F32, DType.I8
ARENA, CONSTANT, INPUT, OUTPUT = Storage


def sample() -> Program:
    """y = table[quantize(x)], with the int8 input b added on the way."""
    return Program(
        tensors=[
            Tensor(F32, INPUT, (2, 5), (5, 1)),
            Tensor(U8, ARENA, (2, 5), (5, 1)),
            Tensor(U8, CONSTANT, (256,), (1,)),
            Tensor(U8, INPUT, (2, 5), (0, 1), index=1),
            Tensor(U8, OUTPUT, (2, 5), (5, 1)),
        ],
        commands=[
            Command("QUANTIZE", (0, 1), {"scale": 0.5, "zero_point": 3}, "first"),
            Command(
                "ADD",
                (1, 3, 2, 4),
                {"signed": 0, "a_scale": 0.5, "b_scale": 0.25, "offset": 1.0},
                "second",
            ),
        ],
        inputs=[Binding("x", F32, (2, 5)), Binding("b", I8, (5,))],
        outputs=[Binding("y", U8, (2, 5))],
        constants=bytes(reversed(range(256))),
        arena_size=64,
    )


def sample_inputs(seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        rng.normal(0, 20, (2, 5)).astype(np.float32),
        rng.integers(-128, 128, 5).astype(np.int8),
    ]


def test_run_equals_the_reference() -> None:
    executable = Executable(sample().to_bytes(checksum))
    for seed in range(3):
        (got,) = executable.run(sample_inputs(seed))
        (want,) = run_reference(sample(), sample_inputs(seed))
        np.testing.assert_array_equal(got, want)


def test_bindings_are_those_of_the_program() -> None:
    executable = Executable(sample().to_bytes(checksum))
    assert executable.inputs == tuple(sample().inputs)
    assert executable.outputs == tuple(sample().outputs)


def test_inputs_of_any_layout_are_taken() -> None:
    executable = Executable(sample().to_bytes(checksum))
    x, b = sample_inputs()
    (want,) = executable.run([x, b])
    (got,) = executable.run([np.asfortranarray(x), np.repeat(b, 2)[::2]])
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([np.zeros((2, 5), "f4")], "1 inputs: expected 2"),
        ([np.zeros((2, 5), "f8"), np.zeros(5, "i1")], r"input 'x' is float64 \(2, 5\): expected"),
        ([np.zeros((2, 5), "f4"), np.zeros(6, "i1")], r"input 'b' is int8 \(6,\): expected int8"),
    ],
)
def test_wrong_inputs_are_refused(inputs: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Executable(sample().to_bytes(checksum)).run(inputs)


def test_runs_may_overlap() -> None:
    executable = Executable(sample().to_bytes(checksum))
    expected = [executable.run(sample_inputs(seed))[0] for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for seed, (got,) in enumerate(
            pool.map(lambda s: executable.run(sample_inputs(s)), range(8))
        ):
            np.testing.assert_array_equal(got, expected[seed])


def test_every_changed_byte_is_noticed() -> None:
    program = sample().to_bytes(checksum)
    for position in range(len(program)):
        changed = bytearray(program)
        changed[position] ^= 1 << position % 8
        with pytest.raises(ProgramError, match=r"invalid Program"):
            Executable(bytes(changed))


@pytest.mark.parametrize("size", [0, 1, 79, 80, 200, -1])
def test_truncated_program_is_refused(size: int) -> None:
    with pytest.raises(ProgramError, match="truncated"):
        Executable(sample().to_bytes(checksum)[:size])


def with_tensor(number: int, /, **changes: Any) -> Program:
    program = sample()
    tensors = list(program.tensors)
    tensors[number] = dataclasses.replace(tensors[number], **changes)
    return dataclasses.replace(program, tensors=tensors)


def with_command(command: Command) -> Program:
    return dataclasses.replace(sample(), commands=[command])


CONV = {
    **{f"{name}_{axis}": 1 for name in ("stride", "dilation") for axis in "hw"},
    **dict.fromkeys(("pad_top", "pad_left", "residual_first", "signed"), 0),
    **dict.fromkeys(("residual_scale", "conv_scale", "residual_offset"), 0.0),
    "group": 1,
    "x_zero_point": 128,
    "y_zero_point": 128,
}
ADD = {"signed": 0, "a_scale": 0.5, "b_scale": 0.25, "offset": 1.0}
UNSOUND: dict[str, tuple[Callable[[], Program], str]] = {
    "offset past the end": (lambda: with_tensor(4, offset=1), "leaves its storage of 10 bytes"),
    "stride past the end": (lambda: with_tensor(4, strides=(6, 1)), "leaves its storage"),
    "before the beginning": (lambda: with_tensor(4, strides=(-5, 1)), "leaves its storage"),
    "overflowing stride": (lambda: with_tensor(4, strides=(2**62, 1)), "leaves its storage"),
    "negative dim": (lambda: with_tensor(4, dims=(-2, 5)), "impossible dims -2x5"),
    "huge dims": (
        lambda: with_tensor(3, dims=(2**40, 2**40), strides=(0, 0)),
        "impossible dims",
    ),
    "arena too small": (lambda: with_tensor(1, offset=60), "leaves its storage of 64 bytes"),
    "unaligned floats": (lambda: with_tensor(0, dims=(1, 1), offset=2), "not aligned"),
    "floats in bytes": (lambda: with_tensor(3, dtype=F32, dims=(1,), strides=(1,)), "not aligned"),
    "no such input": (lambda: with_tensor(3, index=2), "input or output 2 of 2"),
    "no such output": (lambda: with_tensor(4, index=1), "input or output 1 of 1"),
    "wrong dtype": (lambda: with_tensor(0, dtype=U8), "operand x: dtype u8, expected f32"),
    "result in an input": (lambda: with_tensor(4, storage=INPUT, index=0), "result cannot be"),
    "result in the constants": (lambda: with_tensor(4, storage=CONSTANT), "result cannot be"),
    "broadcast result": (lambda: with_tensor(4, strides=(0, 1)), "strides other than 0"),
    "no such tensor": (
        lambda: with_command(Command("ADD", (1, 5, 2, 4), ADD)),
        "operand b: tensor 5 of 5",
    ),
    "dims that differ": (
        lambda: with_tensor(3, dims=(1, 5)),
        r"ADD 'second': operand b is 1x5: expected 2x5",
    ),
    "table in the arena": (
        lambda: with_tensor(2, storage=ARENA, dims=(64,)),
        r"operand table is 64: expected a contiguous constant of 256 elements",
    ),
    "attribute out of range": (
        lambda: with_command(Command("FILL", (4,), {"value": 256}, "f")),
        r"FILL 'f': value=256: expected 0 to 255",
    ),
    "rank": (
        lambda: with_command(
            Command(
                "GLOBAL_AVERAGE_POOL",
                (1, None, 4),
                {"x_zero_point": 0, "y_zero_point": 0, "multiplier": 1.0},
            )
        ),
        "operand x is 2x5: expected rank 4",
    ),
    "code that leaves two values": (
        lambda: with_command(
            Command(
                "EXPRESSION",
                (1, None, None, None, None, 4),
                {f"{n}_{k}": 1 for n in "abcdy" for k in ("scale", "zero_point")}
                | {"code": (0, 0)},
            )
        ),
        "does not leave exactly one value",
    ),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_unsound_program_is_refused_with_the_reason(name: str) -> None:
    make, reason = UNSOUND[name]
    with pytest.raises(ProgramError, match=reason):
        Executable(make().to_bytes(checksum))


def patched(offset: int, fmt: str, value: int) -> bytes:
    """The sample with a value changed and the checksum right."""
    program = bytearray(sample().to_bytes(checksum))
    struct.pack_into(fmt, program, offset, value)
    struct.pack_into("<Q", program, 16, checksum(bytes(program[CHECKED_FROM:])))
    return bytes(program)


def test_unknown_numbers_are_refused() -> None:
    first_tensor = 128  # the header has 112 bytes
    first_command = first_tensor + -(-5 * TENSOR.itemsize // 64) * 64
    for offset, fmt, value, reason in (
        (8, "<I", 1, "version 1, this library reads version 2"),
        (first_tensor, "<B", 77, "tensor 0 has the unknown dtype 77"),
        (first_tensor + 1, "<B", 4, "tensor 0 has the unknown storage 4"),
        (first_tensor + 2, "<B", 9, "tensor 0 has rank 9"),
        (first_command, "<H", 999, "command 0 has the unknown opcode 999"),
        (first_command + 2, "<H", 3, "command 0 .QUANTIZE. has 3 operands, expected 2"),
        (first_command + 4, "<I", 3, "command 0 .QUANTIZE. has 3 attribute words, expected 2"),
        (first_command + 8, "<I", 2**32 - 1, "past their section"),
        (first_command + COMMAND.itemsize - 4, "<I", 2**32 - 1, "a name passes"),
        (_field("tensors"), "<I", 2**32 - 1, "the section of tensors passes the end"),
        (_field("constants_size"), "<Q", 2**64 - 1, "the section of constants passes the end"),
        (_field("arena_size"), "<Q", 2**64 - 1, "expected at most 1099511627776"),
    ):
        with pytest.raises(ProgramError, match=reason):
            Executable(patched(offset, fmt, value))


def _field(name: str) -> int:
    fields = HEADER.fields
    assert fields is not None
    return int(fields[name][1])


def test_bytes_and_back() -> None:
    program = sample().to_bytes(checksum)
    assert Program.from_bytes(program).to_bytes(checksum) == program


def test_schedule_and_back() -> None:
    events = (
        Event(0, Engine.IO, 0, 10, 64),
        Event(0, Engine.COMPUTE, 10, 25),
        Event(1, Engine.DMA, 12, 20, 2**40),
    )
    schedule = Schedule("warboy-2pe", 2_000_000_000, 2, 12345, events)
    program = dataclasses.replace(sample(), schedule=schedule).to_bytes(checksum)
    Executable(program)
    assert Program.from_bytes(program).schedule == schedule


def test_events_of_no_command_are_refused() -> None:
    schedule = Schedule("warboy", 2_000_000_000, 1, 0, (Event(99, Engine.COMPUTE, 0, 1),))
    with pytest.raises(ProgramError, match="event 0 is of command 99 of "):
        Executable(dataclasses.replace(sample(), schedule=schedule).to_bytes(checksum))


def test_every_opcode_has_a_reference() -> None:
    assert set(REFERENCE) == set(OPCODES) - {"CALL"}  # whose kernels have references


def test_constants_that_commands_read_outlive_the_packing_of_weights() -> None:
    rng = np.random.default_rng(0)
    tables = [rng.integers(0, 256, 256).astype(np.uint8) for _ in range(2)]
    weights = rng.integers(-128, 128, (256, 1, 1, 512)).astype(np.int8)  # of many pages
    bias = np.zeros(256, np.int32)
    multiplier = np.full(256, 0.001, np.float32)
    parts: list[npt.NDArray[Any]] = [tables[0], weights, bias, multiplier, tables[1]]
    offsets = np.cumsum([0, *[part.nbytes for part in parts]]).tolist()
    strides = (512, 512, 512, 1)
    program = Program(
        tensors=[
            Tensor(U8, INPUT, (1, 1, 3, 512), (1536, 1536, 512, 1)),
            Tensor(U8, ARENA, (1, 1, 3, 512), (1536, 1536, 512, 1)),
            Tensor(U8, OUTPUT, (1, 1, 3, 256), (768, 768, 256, 1)),
            Tensor(U8, CONSTANT, (256,), (1,), offsets[0]),
            Tensor(I8, CONSTANT, weights.shape, strides, offsets[1]),
            Tensor(DType.I32, CONSTANT, (256,), (1,), offsets[2]),
            Tensor(F32, CONSTANT, (256,), (1,), offsets[3]),
            Tensor(U8, CONSTANT, (256,), (1,), offsets[4]),
        ],
        commands=[
            Command("COPY", (0, 3, 1), {}),
            Command("CONV", (1, 4, 5, 6, 7, None, None, 2), CONV),
        ],
        inputs=[Binding("x", U8, (1, 1, 3, 512))],
        outputs=[Binding("y", U8, (1, 1, 3, 256))],
        constants=b"".join(part.tobytes() for part in parts),
        arena_size=1536,
    )
    executable = Executable(program.to_bytes(checksum))
    for _ in range(2):
        x = rng.integers(0, 256, (1, 1, 3, 512)).astype(np.uint8)
        np.testing.assert_array_equal(executable.run([x])[0], run_reference(program, [x])[0])

"""QUANTIZE, DEQUANTIZE, ADD, MUL and EXPRESSION: native kernels equal the reference."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa_ep.program import DType
from tests.device_emulator.cases import Case, check, contiguous, layouts

Array = npt.NDArray[Any]

dims = st.one_of(
    st.lists(st.integers(0, 5), max_size=5),
    st.lists(st.integers(1, 70), min_size=1, max_size=3),
    st.tuples(st.integers(1, 2), st.integers(1, 40), st.integers(1, 90)).map(list),
).map(tuple)
seeds = st.integers(0, 2**32 - 1)
bytes_ = st.integers(0, 255)
scales = st.one_of(
    st.floats(2.0**-12, 16.0, width=32), st.sampled_from([1.0, 0.5, 1e-42, 1e-38, 1e9, 3e38])
)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def random_bytes(seed: int, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def random_floats(seed: int, shape: tuple[int, ...], scale: float) -> Array:
    """Values around a byte's range at `scale`, many of them ties, and a few special ones."""
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        x = (rng.integers(-600, 600, shape) * np.float32(0.5) * np.float32(scale)).astype("f4")
    noisy = rng.random(shape) < 0.5
    x = np.where(noisy, x * rng.uniform(0.9, 1.1, shape), x).astype(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-45], np.float32)
    return np.where(rng.random(shape) < 0.05, rng.choice(special, shape), x).astype(np.float32)


@st.composite
def tables(draw: st.DrawFn, shape: tuple[int, ...]) -> Array | None:
    """No table, one for all, or one for each index of the last dim."""
    kind = draw(st.sampled_from(["none", "shared", "per channel"]))
    if kind == "none":
        return None
    per_channel = kind == "per channel" and len(shape) > 0
    return random_bytes(draw(seeds), (shape[-1], 256) if per_channel else (256,))


@given(st.data())
def test_quantize(data: st.DataObject) -> None:
    shape, scale = data.draw(dims), data.draw(scales)
    case = Case("QUANTIZE", {"scale": scale, "zero_point": data.draw(bytes_)})
    layout = data.draw(layouts(shape, broadcast=True))
    case.input(random_floats(data.draw(seeds), shape, scale), layout)
    check(case.program(shape, data.draw(layouts(shape))), case.inputs)


@given(st.data())
def test_dequantize(data: st.DataObject) -> None:
    shape = data.draw(dims)
    case = Case("DEQUANTIZE", {"scale": data.draw(scales), "zero_point": data.draw(bytes_)})
    case.input(random_bytes(data.draw(seeds), shape), data.draw(layouts(shape, broadcast=True)))
    check(case.program(shape, data.draw(layouts(shape)), DType.F32), case.inputs)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16, 17, 64, 100])
@pytest.mark.parametrize("pixels", [1, 15, 16, 17, 63, 64, 65, 100, 8200])
def test_between_channels_first_and_channels_last(channels: int, pixels: int) -> None:
    first = (2, pixels, channels)
    channels_first = contiguous(first)
    channels_first = type(channels_first)((pixels * channels, 1, pixels), 0, channels_first.size)
    attributes = {"scale": 0.37, "zero_point": 101}
    x = random_floats(channels * pixels, first, 0.37)
    case = Case("QUANTIZE", attributes)
    case.input(x, channels_first)
    check(case.program(first, contiguous(first)), case.inputs)
    for opcode, dtype in (("DEQUANTIZE", DType.F32), ("COPY", DType.U8)):
        for source, target in (
            (contiguous(first), channels_first),
            (channels_first, contiguous(first)),
        ):
            case = Case(opcode, attributes if opcode == "DEQUANTIZE" else {})
            case.input(random_bytes(pixels, first), source)
            if opcode == "COPY":
                case.constant(random_bytes(channels, (256,)) if pixels % 2 else None)
            check(case.program(first, target, dtype), case.inputs)


@given(st.data())
def test_add(data: st.DataObject) -> None:
    shape = data.draw(dims)
    attributes = {
        "signed": data.draw(st.integers(0, 1)),
        "a_scale": data.draw(scales),
        "b_scale": data.draw(scales),
        "offset": data.draw(st.one_of(st.floats(-512, 512, width=32), finite)),
    }
    case = Case("ADD", attributes)
    for _ in range(2):
        layout = data.draw(layouts(shape, broadcast=True))
        case.input(random_bytes(data.draw(seeds), shape), layout)
    case.constant(data.draw(tables(shape)))
    check(case.program(shape, data.draw(layouts(shape))), case.inputs)


@given(st.data())
def test_mul(data: st.DataObject) -> None:
    shape = data.draw(dims)
    attributes = {
        "signed": data.draw(st.integers(0, 1)),
        "a_zero_point": data.draw(bytes_),
        "b_zero_point": data.draw(bytes_),
        "y_zero_point": data.draw(bytes_),
        "multiplier": data.draw(scales),
    }
    case = Case("MUL", attributes)
    for _ in range(2):
        layout = data.draw(layouts(shape, broadcast=True))
        case.input(random_bytes(data.draw(seeds), shape), layout)
    case.constant(data.draw(tables(shape)))
    check(case.program(shape, data.draw(layouts(shape))), case.inputs)


@st.composite
def codes(draw: st.DrawFn, operands: int) -> tuple[int, ...]:
    """Code that uses every operand, and constants, in random operations."""

    def constant(value: float) -> int:
        return 1 | int.from_bytes(struct.pack("<f", value), "little") << 32

    code = [k << 32 for k in range(operands)]
    code += [constant(draw(st.floats(-4, 4, width=32))) for _ in range(draw(st.integers(0, 2)))]
    words, depth = [], 0
    for word in code:
        words.append(word)
        depth += 1
        while draw(st.booleans()):
            words.append(draw(st.integers(8, 10)))
        while depth > 1 and draw(st.booleans()):
            words.append(draw(st.integers(2, 7)))
            depth -= 1
    return (*words, *[draw(st.integers(2, 7)) for _ in range(depth - 1)])


@given(st.data())
def test_expression(data: st.DataObject) -> None:
    shape = data.draw(dims)
    operands = data.draw(st.integers(1, 4))
    attributes: dict[str, Any] = {"y_scale": data.draw(scales), "y_zero_point": data.draw(bytes_)}
    for name in "abcd":
        attributes[f"{name}_scale"] = data.draw(scales)
        attributes[f"{name}_zero_point"] = data.draw(bytes_)
    attributes["code"] = data.draw(codes(operands))
    case = Case("EXPRESSION", attributes)
    for k in range(4):
        if k >= operands:
            case.constant(None)
            continue
        layout = data.draw(layouts(shape, broadcast=True))
        seed = data.draw(seeds)
        as_float = data.draw(st.booleans())
        values = random_floats(seed, shape, 1.0) if as_float else random_bytes(seed, shape)
        case.input(values, layout)
    dtype = data.draw(st.sampled_from([DType.U8, DType.F32]))
    case.constant(None if dtype == DType.F32 else data.draw(tables(shape)))
    check(case.program(shape, data.draw(layouts(shape)), dtype), case.inputs)

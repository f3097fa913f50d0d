"""Element by element across the edges of blocks and of tiles of tables: native equals reference."""

import numpy as np
import pytest

from furiosa_ep.program import DType
from tests.device_emulator.cases import Case, Layout, check, contiguous
from tests.kernels.test_elementwise import Array, random_bytes

MUL = {"signed": 0, "a_zero_point": 7, "b_zero_point": 120, "y_zero_point": 130, "multiplier": 0.01}
ADD = {"signed": 1, "a_scale": 0.6, "b_scale": 0.7, "offset": 0.3}


def strided(dims: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
    """A view of which nothing lies before its first element."""
    last = sum((dim - 1) * stride for dim, stride in zip(dims, strides, strict=True))
    return Layout(strides, 0, last + 1)


def table_of(kind: str, channels: int) -> Array | None:
    if kind == "none":
        return None
    return random_bytes(channels, (channels, 256) if kind == "per channel" else (256,))


@pytest.mark.parametrize("kind", ["none", "shared", "per channel"])
@pytest.mark.parametrize(
    ("rows", "channels"), [(170, 24), (171, 24), (341, 24), (700, 96), (3, 4100), (9000, 1)]
)
def test_an_operand_that_repeats_for_each_row(rows: int, channels: int, kind: str) -> None:
    dims = (rows, channels)
    for opcode, attributes in (("MUL", MUL), ("ADD", ADD)):
        case = Case(opcode, attributes)
        case.input(random_bytes(1, dims), contiguous(dims))
        case.input(random_bytes(2, dims), strided(dims, (0, 1)))
        case.constant(table_of(kind, channels))
        check(case.program(dims, contiguous(dims)), case.inputs)


@pytest.mark.parametrize("kind", ["none", "shared", "per channel"])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 9])
def test_short_rows_with_gaps(width: int, kind: str) -> None:
    dims = (1500, 3, width)
    case = Case("MUL", MUL)
    case.input(random_bytes(1, dims), contiguous(dims))
    case.input(random_bytes(2, dims), strided(dims, (width, 1500 * width, 1)))
    case.constant(table_of(kind, width))
    check(case.program(dims, strided(dims, (60, 20, 1))), case.inputs)


@pytest.mark.parametrize("dtype", [DType.U8, DType.F32])
@pytest.mark.parametrize(("rows", "channels"), [(21, 24), (22, 24), (100, 24), (3, 520)])
def test_an_expression_with_an_operand_that_repeats(rows: int, channels: int, dtype: DType) -> None:
    dims, gaps = (rows, channels), (channels + 3, 1)
    scales = {f"{name}_scale": 0.1 for name in "abcdy"}
    attributes = scales | {f"{name}_zero_point": 9 for name in "abcdy"}
    case = Case("EXPRESSION", attributes | {"code": (0, 1 << 32, 4, 2 << 32, 2)})
    case.input(random_bytes(1, dims), strided(dims, gaps))
    case.input(random_bytes(2, dims), strided(dims, (0, 1)))
    case.input(random_bytes(3, dims).astype(np.float32), strided(dims, gaps))
    case.constant(None)
    case.constant(table_of("per channel", channels) if dtype is DType.U8 else None)
    check(case.program(dims, strided(dims, gaps), dtype), case.inputs)


@pytest.mark.parametrize("kind", ["shared", "per channel"])
@pytest.mark.parametrize("channels", [1, 2, 7, 8, 15, 16, 17, 24, 32, 63, 64, 65, 130])
@pytest.mark.parametrize("rows", [1, 11, 12, 63, 64, 65, 76, 140])
def test_tables_of_rows(rows: int, channels: int, kind: str) -> None:
    dims = (rows, channels)
    case = Case("COPY", {})
    case.input(random_bytes(rows, dims), strided(dims, (channels + 5, 1)))
    case.constant(table_of(kind, channels))
    check(case.program(dims, strided(dims, (channels + 1, 1))), case.inputs)
    case = Case("COPY", {})
    case.input(random_bytes(rows, dims), contiguous(dims))
    case.constant(table_of(kind, channels))
    check(case.program(dims, contiguous(dims)), case.inputs)

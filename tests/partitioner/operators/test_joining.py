from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import (
    IMAGE,
    TYPES,
    check_function,
    check_movement,
    i64,
    operator,
)
from tests.partitioner.operators.qdq import Qdq, check, declined

PADS = i64(0, 1, 2, 0, 0, 0, 1, 3)


def concat(
    count: int,
    axis: int,
    form: str = "requantized",
    *,
    dtype: type[np.integer[Any]] = np.uint8,
    constant: bool = False,
) -> Qdq:
    q = Qdq(dtype=dtype)
    params = q.params(0.04)
    parts = []
    for size in range(2, count + 2):
        shape = list(IMAGE)
        shape[axis] = size
        if constant and size == 3:
            parts.append(q.weights(shape, dtype=dtype))
            continue
        raw = q.raw(shape)
        own = params if form in ("same", "float") else q.params()
        parts.append(raw if form == "raw" else q.dequantize(raw, own))
    parts.append(parts[0])
    y = q.node("Concat", parts, axis=axis)
    if form == "requantized":
        q.y(y, 0.05)
    elif form == "same":
        q.quantize(y, params)
    else:
        q.output(y, quantized=form == "raw")
    return q


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axis", [1, -1, 0])
@pytest.mark.parametrize("form", ["requantized", "same", "float", "raw"])
def test_concat(form: str, axis: int, dtype: type[np.integer[Any]]) -> None:
    for count in (1, 2, 4):
        check(concat(count, axis, form, dtype=dtype))
    if form == "requantized":
        check(concat(3, axis, dtype=dtype, constant=True))


def test_concat_to_float_needs_one_quantization() -> None:
    q = Qdq()
    q.output(q.node("Concat", [q.x(2, 3), q.x(2, 3)], axis=0), quantized=False)
    assert declined(q).code == DeclineCode.NOT_QUANTIZED


def test_concat_of_floats_is_declined() -> None:
    q = Qdq()
    floats = q.constant(np.ones((2, 3), np.float32))
    q.y(q.node("Concat", [q.x(2, 3), floats], axis=0))
    assert declined(q).code == DeclineCode.NOT_QUANTIZED


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("pads", [PADS, i64(0, 0, -1, -2, 0, 0, 2, -1)])
@pytest.mark.parametrize("value", [None, 1.3, -99.0])
def test_pad(opset: int, pads: Any, value: float | None) -> None:
    constants = [pads, None if value is None else np.float32(value)]
    for form in ("requantized", "same"):
        check_function("Pad", opset=opset, form=form, constants=constants)


def test_pad_with_bytes() -> None:
    for dtype in TYPES:
        check(operator("Pad", dtype=dtype, form="raw", constants=[PADS]))
        check(operator("Pad", dtype=dtype, form="raw", constants=[PADS, np.array(7, dtype)]))
        check(operator("Pad", dtype=dtype, form="float", constants=[PADS]))


def test_pad_by_attributes_and_along_some_axes() -> None:
    check(operator("Pad", opset=10, pads=PADS.tolist(), value=0.7))
    check(operator("Pad", opset=18, constants=[i64(1, 2, 0, 1), None, i64(2, -1)]))


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_pad_modes(mode: str) -> None:
    check_movement("Pad", opset=19, mode=mode, constants=[PADS])


def test_pad_to_float_fills_with_a_value_of_the_input() -> None:
    found = declined(operator("Pad", form="float", constants=[PADS, np.float32(0.77)]))
    assert found.code == DeclineCode.NOT_QUANTIZED


def test_pad_modes_do_not_crop() -> None:
    pads = i64(0, 0, -1, 0, 0, 0, 0, 0)
    found = declined(operator("Pad", mode="edge", constants=[pads]))
    assert found.code == DeclineCode.ATTRIBUTE


def test_pad_value_is_a_constant() -> None:
    q = operator("Pad", constants=[PADS])
    q.feeds["v"], q.shapes["v"] = np.array(1, np.float32), ()
    q.nodes[1].input.append("v")
    assert declined(q).code == DeclineCode.DTYPE


@pytest.mark.parametrize(
    ("op_type", "shape", "constant"),
    [
        ("Expand", (2, 1, 5, 1), (2, 8, 1, 3)),
        ("Expand", (5, 1), (2, 1, 3)),
        ("Expand", IMAGE, (1,)),
        ("Tile", IMAGE, (1, 2, 3, 1)),
        ("Tile", (2, 3), (3, 2)),
    ],
)
def test_repeat(op_type: str, shape: tuple[int, ...], constant: tuple[int, ...]) -> None:
    check_movement(op_type, shape, constants=[i64(*constant)])

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import IMAGE, TYPES, check_movement, i64, operator
from tests.partitioner.operators.qdq import Qdq, check, declined


@pytest.mark.parametrize(
    "constants",
    [
        [i64(1), i64(3), i64(2), i64(1)],
        [i64(0, -1), i64(99, -99), i64(1, 3), i64(3, -2)],
        [i64(-3), i64(-1), i64(1)],
        [i64(1, 1), i64(2, 4)],
        [i64(4), i64(0), i64(2), i64(-1)],
        [i64(0), i64(2**62), i64(-1), i64(2)],
    ],
)
def test_slice(constants: list[npt.NDArray[np.int64]]) -> None:
    check_movement("Slice", constants=constants)


def split(
    count: int,
    sizes: list[int] | None = None,
    *,
    form: str = "quantized",
    dtype: type[np.integer[Any]] = np.uint8,
    opset: int = 17,
    **attributes: Any,
) -> Qdq:
    q = Qdq(dtype=dtype, opset=opset)
    raw, params = q.raw(IMAGE), q.params(0.04)
    inputs = [raw if form == "raw" else q.dequantize(raw, params)]
    if sizes and opset >= 13:
        inputs.append(q.constant(i64(*sizes)))
    elif sizes:
        attributes["split"] = sizes
    for position, part in enumerate(q.node("Split", inputs, count, **attributes)):
        if form != "quantized":
            q.output(part, quantized=form == "raw")
        elif position:
            q.y(part, 0.05)
        else:
            q.quantize(part, params)
    return q


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("count", "sizes", "details"),
    [
        (2, [3, 5], {"axis": 1}),
        (3, [2, 3, 1], {"axis": -1}),
        (4, None, {"axis": 1}),
        (2, [2, 6], {"axis": 1, "opset": 11}),
        (3, None, {"axis": 1, "opset": 18, "num_outputs": 3}),
        (2, [3, 5], {"axis": 1, "form": "float"}),
        (2, [3, 5], {"axis": 1, "form": "raw"}),
    ],
)
def test_split(
    count: int, sizes: list[int] | None, details: dict[str, Any], dtype: type[np.integer[Any]]
) -> None:
    check(split(count, sizes, dtype=dtype, **details))


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize(
    "indices", [[0, 2, 1], [-1, 0], 1, [3, 2, 1], [1, 3], [[0, 1], [3, 3]], [2]]
)
def test_gather(indices: Any, axis: int) -> None:
    check_movement("Gather", constants=[np.array(indices, np.int64)], axis=axis)


def test_indices_are_known() -> None:
    q = operator("Gather")
    q.feeds["i"], q.shapes["i"] = i64(0), (1,)
    q.nodes[1].input.append("i")
    assert declined(q).code == DeclineCode.DYNAMIC_SHAPE


@pytest.mark.parametrize("index", [8, -9])
def test_indices_lie_within_the_axis(index: int) -> None:
    check(operator("Gather", constants=[i64(7, -8)], axis=1))
    found = declined(operator("Gather", constants=[i64(index)], axis=1))
    assert found.code == DeclineCode.SHAPE

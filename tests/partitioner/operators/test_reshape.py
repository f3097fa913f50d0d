from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import IMAGE, check_movement, i64, operator
from tests.partitioner.operators.qdq import check, declined


@pytest.mark.parametrize("shape", [(2, -1), (0, 0, -1), (2, 4, 2, 30), (-1,), (8, 2, 5, 6)])
def test_reshape(shape: tuple[int, ...]) -> None:
    check_movement("Reshape", constants=[i64(*shape)])


@pytest.mark.parametrize("axis", [0, 1, 2, -1, 4])
def test_flatten(axis: int) -> None:
    check_movement("Flatten", axis=axis)


@pytest.mark.parametrize(
    ("op_type", "shape", "details"),
    [
        ("Squeeze", (2, 1, 3, 1), {"constants": [i64(1, -1)]}),
        ("Squeeze", (2, 1, 3, 1), {}),
        ("Squeeze", (2, 1, 3, 1), {"opset": 11, "axes": [1]}),
        ("Unsqueeze", (2, 3), {"constants": [i64(0, -1)]}),
        ("Unsqueeze", (2, 3), {"opset": 11, "axes": [0, 3]}),
        ("Identity", IMAGE, {}),
    ],
)
def test_axes(op_type: str, shape: tuple[int, ...], details: dict[str, Any]) -> None:
    check_movement(op_type, shape, **details)


def test_dropout() -> None:
    check(operator("Dropout"))
    training = operator("Dropout", constants=[np.float32(0.5), np.array(True)])
    assert declined(training).code == DeclineCode.ATTRIBUTE


def test_shapes_may_follow_from_shapes() -> None:
    q = operator("Reshape", IMAGE, declared=("n", 8, "h", "w"))
    shape = q.node("Shape", [q.nodes[0].input[0]])
    batch = q.node("Slice", [shape, q.constant(i64(0)), q.constant(i64(1))])
    target = q.node("Concat", [batch, q.constant(i64(4, -1))], axis=0)
    reshape = next(node for node in q.nodes if node.op_type == "Reshape")
    reshape.input.append(target)
    q.nodes.sort(key=lambda node: node.op_type in ("Reshape", "QuantizeLinear"))
    check(q)


def test_other_shapes_are_declined() -> None:
    q = operator("Reshape", IMAGE)
    q.feeds["s"], q.shapes["s"] = i64(2, -1), (2,)
    q.nodes[1].input.append("s")
    found = declined(q)
    assert found.code == DeclineCode.DYNAMIC_SHAPE
    assert found.reason.endswith(
        "must be a constant or follow from shapes alone. Found: 's' (int64 [2])."
    )


def test_floats_are_declined() -> None:
    q = operator("Identity", form="raw")
    (name,) = q.feeds
    q.feeds[name] = q.feeds[name].astype(np.float32)
    assert declined(q).code == DeclineCode.NOT_QUANTIZED

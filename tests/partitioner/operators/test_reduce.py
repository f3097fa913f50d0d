import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import IMAGE, check_function, check_movement, i64, operator
from tests.partitioner.operators.qdq import check, declined

AXES = [[2, 3], [1], [0, 1], [-1], [1, 3], None]


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("op_type", ["ReduceMean", "ReduceSum", "ReduceL2"])
def test_sums(op_type: str, axes: list[int] | None, keepdims: int) -> None:
    constants = [] if axes is None else [i64(*axes)]
    for form in ("requantized", "float"):
        check(operator(op_type, form=form, opset=18, keepdims=keepdims, constants=constants))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin"])
def test_extrema(op_type: str, axes: list[int] | None) -> None:
    constants = [] if axes is None else [i64(*axes)]
    check_movement(op_type, opset=18, keepdims=0, constants=constants)


def test_axes_as_attribute() -> None:
    check_function("ReduceMean", opset=13, axes=[2, 3])
    check_movement("ReduceMax", opset=13, axes=[1])


@pytest.mark.parametrize("axis", [1, 2, -1, None])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax(opset: int, axis: int | None) -> None:
    attributes = {} if axis is None else {"axis": axis}
    check(operator("Softmax", opset=opset, scale=1 / 256, **attributes))  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(p: int, axis: int) -> None:
    check_function("LpNormalization", p=p, axis=axis, scale=1 / 128)
    check(operator("LpNormalization", p=p, axis=axis, form="float"))


def test_axes_are_known() -> None:
    q = operator("ReduceMean", opset=18)
    q.feeds["a"], q.shapes["a"] = i64(1), (1,)
    q.nodes[1].input.append("a")
    assert declined(q).code == DeclineCode.DYNAMIC_SHAPE


def test_axes_may_follow_from_shapes() -> None:
    q = operator("ReduceMean", IMAGE, opset=18, declared=("n", 8, "h", "w"))
    rank = q.node("Size", [q.node("Shape", [q.nodes[0].input[0]])])
    last = q.node("Sub", [rank, q.constant(1, np.int64)])
    q.nodes[1].input.append(q.node("Reshape", [last, q.constant(i64(1))]))
    q.nodes.sort(key=lambda node: node.op_type in ("ReduceMean", "QuantizeLinear"))
    check(q)


def test_nothing_to_reduce_is_declined() -> None:
    assert declined(operator("ReduceMean", opset=18, noop_with_empty_axes=1)).code == (
        DeclineCode.ATTRIBUTE
    )


def test_softmax_in_two_types_is_declined() -> None:
    q = operator("Softmax", form="float")
    q.float_outputs.clear()
    q.dtype = np.int8
    q.y(q.nodes[-1].output[0])
    assert declined(q).code == DeclineCode.DTYPE

"""The smaller rewrites, each alone."""

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from furiosa_ep.quantization.optimize.casts import join_casts
from furiosa_ep.quantization.optimize.clips import join_clips
from furiosa_ep.quantization.optimize.no_ops import remove_no_ops
from furiosa_ep.quantization.optimize.prelu import simplify_prelu
from furiosa_ep.quantization.optimize.softmax import unflatten_softmax
from furiosa_ep.quantization.optimize.unused import remove_unused
from tests.quantization.optimizing import (
    Array,
    X,
    apply,
    assert_same_function,
    constant,
    inputs_of,
    normal,
    op_types,
    parse,
    positive,
    standard,
)

CONSTANTS: dict[str, npt.ArrayLike] = {
    "zero": np.float32(0),
    "one": np.float32(1),
    "two": np.float32(2),
    "deep": np.ones((1, 1, 1, 1, 1), np.float32),
    "many": np.ones((2, 1, 1, 1), np.float32),
    "no_pads": np.zeros(8, np.int64),
    "own_shape": np.array([2, 3, 4, 5]),
    "yes": np.array(True),
    "no": np.array(False),
    "half": np.float32(0.5),
}


@pytest.mark.parametrize(
    "node",
    [
        "Identity(r)",
        "Dropout(r)",
        "Dropout(r, half)",
        "Dropout(r, half, no)",
        "Cast<to=1>(r)",
        "Reshape(r, own_shape)",
        "Expand(r, own_shape)",
        "Transpose<perm=[0,1,2,3]>(r)",
        "Pad(r, no_pads)",
        'Pad<mode="reflect">(r, no_pads)',
        "Concat<axis=1>(r)",
        "Sum(r)",
        "Mean(r)",
        "Max(r)",
        "Min(r)",
        "Clip(r)",
        "Add(r, zero)",
        "Sub(r, zero)",
        "Mul(r, one)",
        "Div(r, one)",
        "Pow(r, one)",
    ],
)
def test_nodes_that_change_nothing_go(node: str) -> None:
    model = parse(f"({X} x) => ({X} y) {{ r = Relu(x) n = {node} y = Exp(n) }}", **CONSTANTS)
    after = apply(remove_no_ops, model)
    assert op_types(after) == ["Relu", "Exp"]
    assert inputs_of(after, "Exp") == ["r"]


@pytest.mark.parametrize(
    "node",
    [
        "Dropout(x, half, yes)",
        "Cast<to=10>(x)",
        "Transpose<perm=[0,1,3,2]>(x)",
        "Transpose(x)",
        "Concat<axis=1>(x, x)",
        "Clip(x, zero)",
        "Add(x, one)",
        "Mul(x, deep)",
        "Mul(x, two)",
        "Sub(zero, x)",
        "Div(one, x)",
        "Reshape(x, target)",
    ],
)
def test_nodes_that_change_something_stay(node: str) -> None:
    model = parse(f"({X} x, int64[4] target) => (float y) {{ y = {node} }}", **CONSTANTS)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    before = standard(model)
    assert remove_no_ops(before) is before


def test_a_dropout_whose_mask_is_read_stays() -> None:
    model = standard(parse("(float[2] x) => (float[2] y, bool[2] m) { y, m = Dropout(x) }"))
    assert remove_no_ops(model) is model


def test_a_row_of_no_ops_goes_at_once() -> None:
    model = parse(
        "(float[2] x) => (float[2] y) { a = Identity(x) b = Dropout(a) c = Identity(b) d = Sum(c) "
        "e = Relu(d) f = Identity(e) y = Identity(f) }"
    )
    after = apply(remove_no_ops, model)
    assert op_types(after) == ["Relu"]
    assert list(after.graph.node[0].output) == ["y"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("(float[2] x) => (float[2] y) { y = Identity(x) }", ["Identity"]),
        ("(float[2] x) => (float[2] a, float[2] y) { a = Relu(x) y = Identity(a) }", 2),
        (
            "(float[2] x) => (float[2] a, float[2] y) "
            "{ t = Relu(x) a = Identity(t) y = Identity(t) }",
            2,
        ),
        ("(float[2] x) => (float[2] y) { y = Identity(one) }", ["Identity"]),
        ("(float[2] x) => (float[2] y, float[2] z) { a = Relu(x) z = Neg(a) y = Identity(a) }", 2),
    ],
)
def test_inputs_and_outputs_keep_their_names(body: str, expected: list[str] | int) -> None:
    after = apply(remove_no_ops, parse(body, one=np.ones(2, np.float32)))
    if isinstance(expected, int):
        assert len(after.graph.node) == expected
    else:
        assert op_types(after) == expected


def test_what_a_subgraph_reads_keeps_its_name() -> None:
    model = parse(
        "(bool b, float[2] x) => (float[2] y) { t = Identity(x) r = Relu(x) s = Identity(r) "
        "y = If(b) <then_branch = f () => (float[2] u) { u = Exp(t) }, "
        "else_branch = g () => (float[2] v) { v = Exp(s) }> }"
    )
    after = apply(remove_no_ops, model)
    assert op_types(after) == ["Identity", "Relu", "If"]


@pytest.mark.parametrize(
    ("dtype", "between", "joined"),
    [
        ("float", "double", True),
        ("float", "float16", False),
        ("int32", "int64", True),
        ("int64", "int32", False),
        ("int64", "double", False),
        ("int32", "double", True),
        ("uint8", "float16", True),
        ("bool", "int64", True),
        ("float", "int64", False),
    ],
)
def test_casts_of_casts_become_one(dtype: str, between: str, joined: bool) -> None:
    number = onnx.TensorProto.DataType.Value
    model = parse(
        f"({dtype}[4] x) => (float[4] y) {{ a = Cast<to={number(between.upper())}>(x) "
        "y = Cast<to=1>(a) }"
    )
    after = apply(join_casts, model)
    assert op_types(apply(remove_unused, after)) == ["Cast"] * (1 if joined else 2)


@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        (np.float32(0.25), "LeakyRelu"),
        (np.full((1,), 0.25, np.float32), "LeakyRelu"),
        (np.full((3, 1, 1), 0.25, np.float32), "LeakyRelu"),
        (np.full((3, 4, 5), -0.5, np.float32), "LeakyRelu"),
        (np.zeros((3, 1, 1), np.float32), "Relu"),
        (normal(3, 1, 1), "PRelu"),
        (normal(3, 4, 5), "PRelu"),
        (np.broadcast_to(normal(3, 1, 1), (3, 4, 5)), "PRelu"),
    ],
)
def test_prelu_with_one_slope_becomes_simpler(slope: Array, expected: str) -> None:
    model = parse(f"({X} x) => ({X} y) {{ y = PRelu(x, slope) }}", slope=slope)
    assert op_types(apply(simplify_prelu, model)) == [expected]


def test_slopes_that_are_the_same_along_a_channel_become_one_for_each() -> None:
    slope = np.broadcast_to(normal(3, 1, 1), (3, 4, 5))
    after = apply(
        simplify_prelu, parse(f"({X} x) => ({X} y) {{ y = PRelu(x, slope) }}", slope=slope)
    )
    assert constant(after, "slope").shape == (3, 1, 1)


def test_a_computed_slope_stays() -> None:
    before = standard(parse(f"({X} x, float s) => ({X} y) {{ y = PRelu(x, s) }}"))
    assert simplify_prelu(before) is before


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ("[2,3,4]", -1, 1),
        ("[2,3,4]", 2, 1),
        ("[2,3,1,1]", 1, 1),
        ("[2,3,4]", 1, 4),
        ("[N,5]", 1, 1),
        ("[N,M,5]", 2, 1),
        ("[N,3,1]", 1, 1),
        ("[N,3,4]", 1, 4),
    ],
)
def test_softmax_of_old_opsets_works_on_its_axis_again(
    op_type: str, shape: str, axis: int, expected: int
) -> None:
    text = f"(float{shape} x) => (float{shape} y) {{ r = Relu(x) y = {op_type}<axis={axis}>(r) }}"
    model = parse(text, 11)
    after = apply(remove_unused, apply(unflatten_softmax, model))
    assert len(after.graph.node) == expected + 1
    assert_same_function(model, after)


def test_softmax_between_other_shapes_stays() -> None:
    model = parse(
        "(float[2,3,1] x) => (float[3,2] y) { f = Flatten(x) s = Softmax(f) y = Reshape(s, t) }",
        t=np.array([3, 2]),
    )
    before = standard(model)
    assert unflatten_softmax(before) is before


def test_nodes_and_constants_that_nothing_reads_go() -> None:
    model = parse(
        "(float[2] x) => (float[2] y) { a = Neg(x) b = Exp(a) c = Mul(b, w) y = Relu(x) }",
        w=normal(2),
        v=normal(2),
    )
    after = apply(remove_unused, model)
    assert op_types(after) == ["Relu"]
    assert not after.graph.initializer


def test_constants_alone_go_too() -> None:
    model = parse("(float[2] x) => (float[2] y) { y = Relu(x) }", v=normal(2))
    assert not apply(remove_unused, model).graph.initializer


def test_what_a_subgraph_reads_stays() -> None:
    model = parse(
        "(bool b, float[2] x) => (float[2] y) { t = Neg(x) d = Exp(x) y = If(b) <"
        "then_branch = f () => (float[2] u) { u = Add(t, k) }, "
        "else_branch = g () => (float[2] v) { v = Identity(x) }> }",
        k=normal(2),
    )
    after = apply(remove_unused, model)
    assert op_types(after) == ["Neg", "If"]
    assert len(after.graph.initializer) == 1


def test_optional_outputs_that_nothing_reads_go() -> None:
    model = parse(
        "(float[1,1,4,4] x) => (float[1,1,2,2] y) "
        "{ p, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) d, m = Dropout(p) y = Relu(d) }"
    )
    after = apply(remove_unused, model)
    assert [list(node.output) for node in after.graph.node] == [["p"], ["d"], ["y"]]


def test_outputs_that_are_not_optional_stay() -> None:
    model = standard(
        parse(
            "(float[4] x) => (float[2] y) { a, b = Split<axis=0>(x, s) y = Relu(a) }",
            s=np.array([2, 2]),
        )
    )
    assert remove_unused(model) is model


def test_nodes_without_a_name_and_with_empty_inputs_pass() -> None:
    resize = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    model = parse("(float[1,1,2,2] x) => (float[1,1,4,4] y) { y = Relu(x) }", scales=positive(4))
    model.graph.node[0].CopyFrom(resize)
    model.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    )
    for rewrite in (remove_unused, remove_no_ops, join_clips):
        assert op_types(apply(rewrite, model)) == ["Resize"]

"""The smaller rewrites, each alone."""

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from furiosa_ep.quantization.optimize.casts import join_casts
from furiosa_ep.quantization.optimize.clips import join_clips
from furiosa_ep.quantization.optimize.gemm import make_gemm, simplify_gemm
from furiosa_ep.quantization.optimize.no_ops import remove_no_ops
from furiosa_ep.quantization.optimize.pads import fold_pads, split_negative_pads
from furiosa_ep.quantization.optimize.prelu import simplify_prelu
from furiosa_ep.quantization.optimize.softmax import unflatten_softmax
from furiosa_ep.quantization.optimize.unused import remove_unused
from tests.quantization.optimizing import (
    Array,
    apply,
    assert_same_function,
    attributes_of,
    constant,
    inputs_of,
    normal,
    op_types,
    parse,
    positive,
    standard,
)

X = "float[2,3,4,5]"
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


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize(
    ("pads", "mode", "expected"),
    [
        ([0, 0, -1, -1, 0, 0, -1, 0], "constant", ["Slice"]),
        ([0, 0, -1, 0, 0, 0, 0, -2], "edge", ["Slice"]),
        ([0, 0, -1, 0, 0, 0, 0, -2], "reflect", ["Slice"]),
        ([0, 0, -1, 2, 0, 1, 3, -2], "constant", ["Slice", "Pad"]),
        ([0, 0, -1, 2, 0, 1, 3, -2], "edge", ["Pad"]),
        ([0, 0, 1, 2, 0, 1, 3, 2], "constant", ["Pad"]),
    ],
)
def test_negative_pads_become_a_slice(
    pads: list[int], mode: str, expected: list[str], opset: int
) -> None:
    model = parse(
        f'({X} x) => (float[a,b,c,d] y) {{ y = Pad<mode="{mode}">(x, pads, value) }}',
        opset,
        pads=np.array(pads),
        value=np.float32(1.5),
    )
    assert op_types(apply(split_negative_pads, model)) == expected


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, -2]])
def test_negative_pads_of_some_axes_become_a_slice(axes: list[int]) -> None:
    model = parse(
        f"({X} x) => (float[a,b,c,d] y) {{ y = Pad(x, pads, , axes) }}",
        18,
        pads=np.array([-1, 1, 0, -2]),
        axes=np.array(axes),
    )
    assert op_types(apply(split_negative_pads, model)) == ["Slice", "Pad"]


def test_negative_pads_of_open_dims_become_a_slice() -> None:
    model = parse(
        "(float[N,M] x) => (float[N,K] y) { r = Exp(x) y = Pad(r, pads) }",
        pads=np.array([0, -1, 0, -1]),
    )
    after = apply(split_negative_pads, model)
    assert op_types(after) == ["Exp", "Slice"]
    assert_same_function(model, after, {"x": normal(3, 7)})


@pytest.mark.parametrize(
    ("pads", "value", "node", "expected"),
    [
        ([0, 0, 1, 2, 0, 0, 0, 1], 0, "Conv(p, w)", [1, 2, 0, 1]),
        ([0, 0, 1, 2, 0, 0, 0, 1], 0, "Conv<pads=[1,0,0,2], strides=[2,1]>(p, w, b)", [2, 2, 0, 3]),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, 'Conv<auto_pad="VALID">(p, w)', [1, 1, 1, 1]),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "AveragePool<kernel_shape=[2,3]>(p)", [1, 1, 1, 1]),
        (
            [0, 0, 1, 0, 0, 0, 1, 1],
            0,
            "AveragePool<kernel_shape=[2,2], pads=[0,1,0,0], count_include_pad=1>(p)",
            [1, 1, 1, 1],
        ),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "AveragePool<kernel_shape=[3,3], ceil_mode=1>(p)", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(p)", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "MaxPool<kernel_shape=[2,2]>(p)", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, 'Conv<auto_pad="SAME_UPPER">(p, w)', None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 1, "Conv(p, w)", None),
        ([1, 0, 1, 1, 0, 0, 1, 1], 0, "Conv(p, w)", None),
        ([0, 0, -1, 1, 0, 0, 1, 1], 0, "Conv(p, w)", None),
    ],
)
def test_zeros_around_an_image_join_what_reads_it(
    pads: list[int], value: float, node: str, expected: list[int] | None
) -> None:
    model = parse(
        f"({X} x) => (float[a,b,c,d] y) {{ p = Pad(x, pads, value) y = {node} }}",
        pads=np.array(pads),
        value=np.float32(value),
        w=normal(2, 3, 2, 3),
        b=normal(2),
    )
    after = apply(fold_pads, model)
    if expected is None:
        assert op_types(after) == op_types(model)
    else:
        (node_after,) = after.graph.node
        assert attributes_of(after, node_after.op_type)["pads"] == expected


def test_zeros_that_reflect_or_that_others_read_stay() -> None:
    for text in (
        f'({X} x) => (float[a,b,c,d] y) {{ p = Pad<mode="reflect">(x, pads) y = Conv(p, w) }}',
        f"({X} x) => (float[a,b,c,d] y, float[e,f,g,h] z) {{ p = Pad(x, pads) y = Conv(p, w) "
        "z = Relu(p) }",
    ):
        constants = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": normal(2, 3, 2, 3)}
        before = standard(parse(text, **constants))
        assert fold_pads(before) is before


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


LIMITS: dict[str, npt.ArrayLike] = {
    "zero": np.float32(0),
    "six": np.float32(6),
    "low": np.array([-0.5], np.float32),
    "high": np.float32(0.75),
    "rows": np.zeros((5,), np.float32),
    "deep": np.zeros((1, 1, 1, 1, 1), np.float32),
    "nan": np.float32(np.nan),
}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = Max(x, zero)", ["Relu"]),
        ("y = Max(zero, x)", ["Relu"]),
        ("y = Max(x, low)", ["Clip"]),
        ("y = Min(high, x)", ["Clip"]),
        ("a = Max(x, low) y = Min(a, high)", ["Clip"]),
        ("a = Min(x, high) y = Max(a, low)", ["Clip"]),
        ("a = Relu(x) y = Min(a, six)", ["Clip"]),
        ("a = Relu(x) y = Clip(a, low, high)", ["Clip"]),
        ("a = Clip(x, low) y = Relu(a)", ["Relu"]),
        ("a = Relu(x) y = Relu(a)", ["Relu"]),
        ("a = Clip(x, , high) b = Relu(a) y = Clip(b, low, six)", ["Clip"]),
        ("a = Clip(x, low, zero) y = Relu(a)", ["Clip"]),
        ("a = Clip(x, high, six) y = Clip(a, low, zero)", ["Clip"]),
        ("y = Clip(x, zero, six)", ["Clip"]),
        ("y = Clip(x, six, zero)", ["Clip"]),
        ("y = Max(x, rows)", ["Max"]),
        ("y = Max(x, deep)", ["Max"]),
        ("y = Max(x, x)", ["Max"]),
        ("y = Max(x, zero, low)", ["Max"]),
        ("y = Max(x)", ["Max"]),
        ("a = Relu(x) b = Exp(a) c = Min(a, six) y = Add(b, c)", ["Relu", "Exp", "Clip", "Add"]),
    ],
)
def test_limits_become_one_clip(nodes: str, expected: list[str]) -> None:
    model = parse(f"({X} x) => (float y) {{ {nodes} }}", **LIMITS)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert op_types(apply(join_clips, model)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "(int64[3] x) => (int64[3] y) { y = Max(x, i) }",
        "(float[3] x) => (float[3] y) { y = Max(x, nan) }",
        "(float[3] x, float[3] z) => (float[3] y) { y = Max(x, z) }",
        "(float[3] x, float z) => (float[3] y) { a = Relu(x) y = Clip(a, z) }",
    ],
)
def test_other_limits_stay(text: str) -> None:
    before = standard(parse(text, **LIMITS, i=np.int64(1)))
    assert join_clips(before) is before


def test_matmul_of_matrices_becomes_gemm() -> None:
    model = parse("(float[N,3] x) => (float[N,4] y) { y = MatMul(x, w) }", w=normal(3, 4))
    assert op_types(apply(make_gemm, model)) == ["Gemm"]


@pytest.mark.parametrize(
    "text",
    [
        "(float[2,2,3] x) => (float[2,2,4] y) { y = MatMul(x, w) }",
        "(float[3] x) => (float[4] y) { y = MatMul(x, w) }",
        "(float[2,3] x, float[3,4] v) => (float[2,4] y) { y = MatMul(x, v) }",
        "(float[5,5,4] x) => (float[5,3,4] y) { y = MatMul(deep, x) }",
        "(int32[2,3] x) => (int32[2,4] y) { y = MatMul(x, i) }",
    ],
)
def test_other_matmuls_stay(text: str) -> None:
    constants = {"w": normal(3, 4), "deep": normal(5, 3, 5), "i": np.ones((3, 4), np.int32)}
    before = standard(parse(text, **constants))
    assert make_gemm(before) is before


@pytest.mark.parametrize(
    ("attributes", "bias", "expected"),
    [
        ("", normal(4), ["Gemm"]),
        ("", normal(1, 4), ["Gemm"]),
        ("", np.float32(2), ["Gemm"]),
        ("", np.ones((1, 1), np.float32), ["Gemm"]),
        ("alpha=0.5, beta=2.0", normal(4), ["Gemm"]),
        ("alpha=0.5, beta=-2.0, transA=1", normal(1, 4), ["Gemm"]),
        ("", normal(2, 4), ["Gemm", "Add"]),
        ("", normal(2, 1), ["Gemm", "Add"]),
        ("alpha=3.0, beta=0.5", normal(2, 1), ["Gemm", "Add"]),
    ],
)
def test_gemm_gets_a_bias_for_each_column(
    attributes: str, bias: Array, expected: list[str]
) -> None:
    shape = "3,2" if "transA" in attributes else "2,3"
    model = parse(
        f"(float[{shape}] x) => (float[2,4] y) {{ y = Gemm<{attributes}>(x, w, b) }}".replace(
            "<>", ""
        ),
        w=normal(3, 4),
        b=bias,
    )
    after = apply(simplify_gemm, model)
    assert op_types(after) == expected
    assert set(attributes_of(after, "Gemm")) <= {"transA"}
    if expected == ["Gemm"]:
        assert constant(after, inputs_of(after, "Gemm")[2]).shape == (4,)


def test_gemm_of_two_values_gets_its_bias_from_an_add() -> None:
    model = parse(
        "(float[2,3] x, float[3,4] w) => (float[2,4] y) { y = Gemm<alpha=0.5>(x, w, b) }",
        b=normal(4),
    )
    after = apply(simplify_gemm, model)
    assert op_types(after) == ["Gemm", "Add"]
    assert attributes_of(after, "Gemm") == {"alpha": 0.5}


def test_a_quantized_gemm_keeps_its_form() -> None:
    model = parse(
        "(float[2,3] x) => (float[2,4] y) { w = DequantizeLinear(q, s) b = DequantizeLinear(c, s) "
        "y = Gemm(x, w, b) }",
        q=np.ones((3, 4), np.int8),
        c=np.ones(4, np.int32),
        s=np.float32(0.5),
    )
    before = standard(model)
    assert simplify_gemm(before) is before


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

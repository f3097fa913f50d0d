"""Constant folding, shapes that are known, and the Reshapes that take them."""

import logging

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from furiosa_ep.quantization.optimize import constants
from furiosa_ep.quantization.optimize.constants import fold_constants
from furiosa_ep.quantization.optimize.reshapes import fix_reshapes
from furiosa_ep.quantization.optimize.shapes import infer_shapes
from furiosa_ep.quantization.optimize.unused import remove_unused
from tests.quantization.optimizing import (
    apply,
    assert_same_function,
    attributes_of,
    constant,
    counts,
    feed_of,
    inputs_of,
    normal,
    op_types,
    parse,
    standard,
)


def test_nodes_of_constants_become_initializers() -> None:
    model = parse(
        "(float[N,4] x) => (float[N,4] y) { t = Transpose(w) c = Cast<to=1>(i) s = Add(t, c) "
        "e, f = Split<axis=0>(s, two) y = Gemm(x, e, b) }",
        w=normal(4, 8),
        i=np.arange(4, dtype=np.int64),
        two=np.array([4, 4]),
        b=normal(4),
    )
    after = apply(fold_constants, model)
    assert op_types(after) == ["Gemm"]
    expected = (normal(4, 8).T + np.arange(4, dtype=np.float32))[:4]
    assert np.array_equal(constant(after, inputs_of(after, "Gemm")[1]), expected)


@pytest.mark.parametrize(
    "value",
    [
        "value = float[2] {1, 2}",
        "value_floats = [1.0, 2.0]",
        "value_float = 3.0",
    ],
)
def test_constant_nodes_become_initializers(value: str) -> None:
    model = parse(f"(float[2] x) => (float[2] y) {{ c = Constant<{value}>() y = Add(x, c) }}")
    assert op_types(apply(fold_constants, model)) == ["Add"]


@pytest.mark.parametrize("value", ["value_int = 1", "value_ints = [0, 1]"])
def test_constant_integers_become_initializers(value: str) -> None:
    model = parse(
        f"(float[2,2] x) => (float y) {{ c = Constant<{value}>() y = Gather(x, c) }}",
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert op_types(apply(fold_constants, model)) == ["Gather"]


def test_a_constant_that_is_an_output_stays_a_node() -> None:
    model = parse(
        "(float[2] x) => (float[2] y, float[1] z) "
        "{ z = Constant<value_floats=[1.0]>() y = Add(x, z) }"
    )
    assert counts(apply(fold_constants, model)) == {"Constant": 1, "Add": 1}


def test_an_output_is_not_made_an_initializer() -> None:
    model = parse(
        "(float[2] x) => (float[2] y, float[2] z) { t = Neg(c) z = Exp(t) y = Add(x, z) }",
        c=normal(2),
    )
    assert counts(apply(fold_constants, model)) == {"Exp": 1, "Add": 1}


@pytest.mark.parametrize(
    "node",
    ["RandomNormalLike<seed=1.0>(c)", "RandomUniformLike<seed=1.0>(c)", "acme.Thing(c)"],
)
def test_noise_and_unknown_operators_are_not_computed(node: str) -> None:
    model = standard(
        parse(f"(float[2] x) => (float[2] y) {{ t = {node} y = Add(x, t) }}", c=normal(2))
    )
    assert fold_constants(model) is model


def test_weights_that_are_quantized_stay_so() -> None:
    model = parse(
        "(float[2,4] x) => (float[2,4] y) { q = QuantizeLinear(w, s, z) "
        "d = DequantizeLinear(q, s, z) t = DequantizeLinear(i, s, z) "
        "a = MatMul(x, d) y = MatMul(a, t) }",
        w=normal(4, 4),
        i=np.arange(16, dtype=np.int8).reshape(4, 4),
        s=np.float32(0.1),
        z=np.int8(0),
    )
    assert op_types(apply(fold_constants, model)) == op_types(model)


def test_what_onnx_runtime_cannot_compute_stays(caplog: pytest.LogCaptureFixture) -> None:
    model = parse(
        "(float[2] x) => (float[2] y, float[2] z) { a = Reshape(c, bad) y = Add(x, a) "
        "b = Neg(c) z = Add(x, b) }",
        c=normal(2),
        bad=np.array([5]),
    )
    with caplog.at_level(logging.DEBUG):
        after = fold_constants(standard(model))
    assert op_types(after) == ["Reshape", "Add", "Add"]
    assert "['a'] is not folded" in caplog.text


def test_what_would_be_too_large_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "MAX_BYTES", 4 * 99)
    model = parse(
        "(float[100] x) => (float[100] y) { e = Expand(c, n) f = Expand(c, m) s = Add(x, e) "
        "y = Mul(s, f) }",
        c=normal(1),
        n=np.array([100]),
        m=np.array([1]),
    )
    assert op_types(apply(fold_constants, model)) == ["Expand", "Add", "Mul"]


@pytest.mark.parametrize(
    ("nodes", "value"),
    [
        ("s = Shape(x) ", [5, 3, 4]),
        ("s = Shape<start=1>(x) ", [3, 4]),
        ("s = Shape<start=-2, end=-1>(x) ", [3]),
        ("n = Size(x) s = Unsqueeze(n, zero) ", [60]),
        ("t = Shape(x) s = Gather(t, zero) ", [5]),
        ("t = Shape(x) s = Slice(t, zero, minus, zero, two) ", [5]),
        ("t = Shape(x) i = Cast<to=6>(t) h = Cast<to=7>(i) s = Slice(h, one, three) ", [3, 4]),
        ("t = Shape(x) a = Gather(t, one) b = Mul(a, two) c = Add(b, one) s = Div(c, two) ", [3]),
        (
            "t = Shape(x) u = Gather(t, last) v = Unsqueeze(u, zero) s = Concat<axis=0>(v, one) ",
            [4, 1],
        ),
        ("t = Shape(x) u = Slice(t, zero, one) q = Squeeze(u) s = Unsqueeze(q, zero) ", [5]),
        ("t = Shape(x) u = Slice(t, zero, one) s = Sub(u, two) ", [3]),
    ],
)
def test_known_shapes_become_constants(nodes: str, value: list[int]) -> None:
    indices = {"zero": [0], "one": [1], "two": [2], "three": [3], "minus": [-1]}
    nodes = nodes.replace("(x)", "(r)")
    model = parse(
        f"(float[5,3,4] x) => (int64[n] y) {{ r = Relu(x) {nodes} y = Neg(s) }}",
        **{name: np.array(index) for name, index in indices.items()},
        last=np.array(2),
    )
    after = apply(fold_constants, model)
    assert op_types(apply(remove_unused, after)) == ["Neg"]
    assert constant(after, "s").tolist() == value
    assert constant(after, "s").dtype == np.int64


def test_known_dims_of_an_open_shape_become_constants() -> None:
    model = parse(
        "(float[N,3,4] x) => (int64 y, int64[1] z) { s = Shape(x) g = Gather(s, one) y = Neg(g) "
        "h = Slice(s, zero, ones) z = Neg(h) }",
        one=np.array(1),
        zero=np.array([0]),
        ones=np.array([1]),
    )
    after = apply(fold_constants, model)
    assert op_types(after) == ["Shape", "Neg", "Slice", "Neg"]
    assert constant(after, "g").tolist() == 3


def test_shapes_that_the_model_only_claims_are_not_relied_on() -> None:
    """Somebody has given the input another batch, and left all else as it was."""
    text = "(float[1,4] x) => (float[1,4] y) { r = Relu(x) s = Shape(r) y = Reshape(r, s) }"
    model = standard(parse(text))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    infer_shapes(model)
    after = fold_constants(model)
    assert constant(after, "s").tolist() == [3, 4]
    assert_same_function(model, after)


@pytest.mark.parametrize(
    ("shape", "nodes", "target"),
    [
        ("[N,6,4]", "c = Concat<axis=0>(n, rest)", [0, 24]),
        ("[N,6,4]", "c = Concat<axis=0>(rest, n)", [24, -1]),
        ("[6,N,4]", "c = Concat<axis=0>(n, rest)", [-1, 24]),
        ("[N,6,4]", "m = Mul(n, k) c = Concat<axis=0>(m, six)", [-1, 6]),
        ("[N,M,4]", "c = Concat<axis=0>(n, o, k)", [0, 0, 4]),
    ],
)
def test_reshape_to_computed_dims_takes_constants(
    shape: str, nodes: str, target: list[int]
) -> None:
    place = shape[1:].split(",").index("N")
    model = parse(
        f"(float{shape} x) => (float y) {{ s = Shape(x) n = Gather(s, i) o = Gather(s, one) "
        f"{nodes} y = Reshape(x, c) }}",
        i=np.array([place]),
        one=np.array([1]),
        rest=np.array([24]),
        six=np.array([6]),
        k=np.array([4]),
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    after = apply(fix_reshapes, model)
    assert constant(after, inputs_of(after, "Reshape")[1]).tolist() == target
    after = apply(remove_unused, after)
    assert op_types(after) == ["Reshape"]
    for length in (1, 5):
        assert_same_function(model, after, feed_of(model, length))


@pytest.mark.parametrize(
    ("inputs", "nodes"),
    [
        ("float[N,M] x", "s = Shape(x) t = Concat<axis=0>(a, b)"),
        ("float[N,6] x, int64[2] s", "t = Identity(s)"),
        ("float['?',6,'?'] x", "s = Shape(x) t = Concat<axis=0>(a, b)"),
    ],
)
def test_reshape_to_two_dims_that_are_not_known_stays(inputs: str, nodes: str) -> None:
    inputs = inputs.replace("'?'", "q")
    model = parse(
        f"({inputs}) => (float y) {{ {nodes} y = Reshape(x, t) }}".replace(
            "t = Concat", "a = Gather(s, last) b = Gather(s, first) t = Concat"
        ),
        first=np.array([0]),
        last=np.array([-1]),
    )
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        if dim.dim_param == "q":
            dim.dim_param = "?"
    before = standard(model)
    assert fix_reshapes(before) is before


def test_dims_named_with_a_question_mark_are_not_equal() -> None:
    """Paddle's exporter calls every open dim so."""
    model = parse(
        "(float[q,q] x) => (float y) { s = Shape(x) a = Gather(s, one) b = Gather(s, zero) "
        "t = Concat<axis=0>(a, b) y = Reshape(x, t) }",
        zero=np.array([0]),
        one=np.array([1]),
    )
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_param = "?"
    before = standard(model)
    assert fix_reshapes(before) is before


def test_reshape_with_zeros_that_mean_zero_stays() -> None:
    model = parse(
        "(float[N,6] x) => (float y) { s = Shape(x) y = Reshape<allowzero=1>(x, s) }",
    )
    before = standard(model)
    assert fix_reshapes(before) is before


def test_a_constant_that_a_subgraph_reads_keeps_its_name() -> None:
    model = parse(
        "(bool b, float[2] x) => (float[2] y) { t = Neg(c) y = If(b) <"
        "then_branch = f () => (float[2] u) { u = Add(x, t) }, "
        "else_branch = g () => (float[2] v) { v = Sub(x, t) }> }",
        c=normal(2),
    )
    after = apply(fold_constants, model)
    assert op_types(after) == ["If"]
    assert np.array_equal(constant(after, "t"), -normal(2))
    assert set(attributes_of(after, "If")) == {"then_branch", "else_branch"}


def test_constants_of_more_than_a_kilobyte_are_computed_too() -> None:
    model = parse(
        "(float[1,64] x) => (float[1,64] y) { t = Transpose(w) y = MatMul(x, t) }", w=normal(64, 64)
    )
    after = apply(fold_constants, model)
    assert np.array_equal(constant(after, "t"), normal(64, 64).T)
    assert [tensor.name for tensor in after.graph.initializer] == ["t"]


def test_text_constants_pass() -> None:
    model = parse("(float[2] x) => (float[2] y) { y = Relu(x) }")
    words = numpy_helper.from_array(np.array(["a", "b"], object), "words")
    model.graph.initializer.append(words)
    model.graph.node.append(onnx.helper.make_node("Identity", ["words"], ["z"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.STRING, [2]))
    before = standard(model)
    assert fold_constants(before) is before

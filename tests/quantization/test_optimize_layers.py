"""BatchNormalization and arithmetic by constants join the layers beside them."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.quantization.optimize.batch_normalization import fold_batch_normalization
from furiosa_ep.quantization.optimize.channel_arithmetic import fold_channel_arithmetic
from tests.quantization.optimizing import (
    Array,
    apply,
    assert_same_function,
    batch_normalization,
    constant,
    inputs_of,
    normal,
    op_types,
    parse,
    positive,
    standard,
)

BN = "BatchNormalization<epsilon=0.003>({}, scale, bias, mean, variance)"

# Operator, shapes of input and weights, attributes: groups, strides, one dim, a transposed matrix.
LAYERS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "conv": ("Conv", (2, 4, 7, 5), (6, 4, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    "grouped": ("Conv", (2, 4, 5, 5), (6, 2, 3, 3), {"group": 2}),
    "depthwise": ("Conv", (1, 4, 5, 5), (4, 1, 3, 3), {"group": 4, "auto_pad": "SAME_UPPER"}),
    "multiplied": ("Conv", (1, 2, 5, 5), (6, 1, 3, 3), {"group": 2, "auto_pad": "VALID"}),
    "conv1d": ("Conv", (2, 3, 9), (5, 3, 4), {"dilations": [2]}),
    "conv3d": ("Conv", (1, 2, 4, 4, 4), (3, 2, 2, 2, 2), {}),
    "one channel": ("Conv", (1, 3, 4, 4), (1, 3, 1, 1), {}),
    "transposed": ("ConvTranspose", (1, 4, 3, 3), (4, 5, 3, 3), {"strides": [2, 2]}),
    "transposed grouped": ("ConvTranspose", (1, 4, 3, 3), (4, 3, 2, 2), {"group": 2}),
    "gemm": ("Gemm", (3, 4), (4, 5), {}),
    "gemm transB": ("Gemm", (3, 4), (5, 4), {"transB": 1}),
    "gemm transA": ("Gemm", (4, 3), (4, 5), {"transA": 1}),
}
PADDED = ("conv", "depthwise")
every_layer = pytest.mark.parametrize("layer", LAYERS)


def layer_model(
    layer: str,
    before: list[onnx.NodeProto],
    behind: list[onnx.NodeProto],
    constants: dict[str, Array],
    *,
    bias: bool = True,
) -> onnx.ModelProto:
    """Nodes from x to p, the layer from p to q, nodes from q to y; either list may be empty."""
    op_type, shape, weight, attributes = LAYERS[layer]
    arrays = {"w": normal(*weight), **constants}
    inputs = ["p" if before else "x", "w"]
    if bias:
        arrays["b"] = normal(channels_of(layer)[1])
        inputs.append("b")
    output = "q" if behind else "y"
    node = helper.make_node(op_type, inputs, [output], "layer", **attributes)
    rank = len(shape)
    graph = helper.make_graph(
        [*before, node, *behind],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def channels_of(layer: str) -> tuple[int, int]:
    """The length of axis 1 of the input and of the output of a layer."""
    op_type, shape, weight, attributes = LAYERS[layer]
    if op_type == "Gemm":
        return shape[1], weight[1 - attributes.get("transB", 0)]
    if op_type == "ConvTranspose":
        return shape[1], weight[1] * attributes.get("group", 1)
    return shape[1], weight[0]


def bn_node(x: str, y: str) -> onnx.NodeProto:
    inputs = [x, "scale", "bias", "mean", "variance"]
    return helper.make_node("BatchNormalization", inputs, [y], epsilon=0.003)


@pytest.mark.parametrize("bias", [True, False])
@every_layer
def test_batch_normalization_joins_the_layer_before_it(layer: str, bias: bool) -> None:
    constants = batch_normalization(channels_of(layer)[1])
    model = layer_model(layer, [], [bn_node("q", "y")], constants, bias=bias)
    after = apply(fold_batch_normalization, model)
    assert op_types(after) == [LAYERS[layer][0]]
    assert len(after.graph.initializer) == 2
    assert after.graph.node[0].name == "layer"


@pytest.mark.parametrize("bias", [True, False])
@every_layer
def test_batch_normalization_joins_the_layer_behind_it_where_nothing_is_padded(
    layer: str, bias: bool
) -> None:
    constants = batch_normalization(channels_of(layer)[0])
    model = layer_model(layer, [bn_node("x", "p")], [], constants, bias=bias)
    after = apply(fold_batch_normalization, model)
    stays = layer in PADDED or layer.startswith("transposed") or layer == "gemm transA"
    assert op_types(after) == ["BatchNormalization"] * stays + [LAYERS[layer][0]]


def arithmetic(kind: str, channels: int, rank: int) -> tuple[str, list[str], dict[str, Array]]:
    """Operator, inputs ("{}" is the value) and constants of a step."""
    per_channel = (channels, *[1] * (rank - 2))
    steps: dict[str, tuple[str, list[str], dict[str, Array]]] = {
        "Mul": ("Mul", ["{}", "k"], {"k": positive(*per_channel)}),
        "Mul left": ("Mul", ["k", "{}"], {"k": positive(1, *per_channel)}),
        "Mul one": ("Mul", ["{}", "k"], {"k": np.array(1.7, np.float32)}),
        "Add": ("Add", ["k", "{}"], {"k": normal(*per_channel)}),
        "Add one": ("Add", ["{}", "k"], {"k": np.array([0.3], np.float32)}),
        "Sub": ("Sub", ["{}", "k"], {"k": normal(1, *per_channel)}),
        "Sub left": ("Sub", ["k", "{}"], {"k": normal(*per_channel)}),
        "Div": ("Div", ["{}", "k"], {"k": positive(*per_channel)}),
        "Neg": ("Neg", ["{}"], {}),
    }
    return steps[kind]


STEPS = ("Mul", "Mul left", "Mul one", "Add", "Add one", "Sub", "Sub left", "Div", "Neg")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("step", STEPS)
@every_layer
def test_arithmetic_joins_the_layer_before_it(layer: str, step: str, bias: bool) -> None:
    channels, rank = channels_of(layer)[1], len(LAYERS[layer][1])
    op_type, inputs, constants = arithmetic(step, channels, rank)
    node = helper.make_node(op_type, [name.format("q") for name in inputs], ["y"])
    after = apply(fold_channel_arithmetic, layer_model(layer, [], [node], constants, bias=bias))
    assert op_types(after) == [LAYERS[layer][0]]


@pytest.mark.parametrize("step", STEPS)
@every_layer
def test_arithmetic_joins_the_layer_behind_it_where_that_is_exact(layer: str, step: str) -> None:
    channels, rank = channels_of(layer)[0], len(LAYERS[layer][1])
    op_type, inputs, constants = arithmetic(step, channels, rank)
    node = helper.make_node(op_type, [name.format("x") for name in inputs], ["p"])
    after = apply(fold_channel_arithmetic, layer_model(layer, [node], [], constants))
    shifts = op_type in ("Add", "Sub")
    stays = layer == "gemm transA" or (
        shifts and (layer in PADDED or layer.startswith("transposed"))
    )
    assert op_types(after) == [op_type] * stays + [LAYERS[layer][0]]


def test_a_row_of_steps_ends_in_one_layer() -> None:
    names = ["q", "m", "a", "d", "y"]
    steps = ("Mul", "Add", "Div", "Sub")
    nodes, constants = [], {}
    for index, (step, x, y) in enumerate(zip(steps, names, names[1:], strict=False)):
        op_type, inputs, arrays = arithmetic(step, 6, 4)
        constants.update({f"k{index}": array for array in arrays.values()})
        inputs = [x if name == "{}" else f"k{index}" for name in inputs]
        nodes.append(helper.make_node(op_type, inputs, [y]))
    after = apply(fold_channel_arithmetic, layer_model("conv", [], nodes, constants))
    assert op_types(after) == ["Conv"]
    assert inputs_of(after, "Conv") == ["x", "w", "b"]


def test_steps_join_a_batch_normalization_that_stays() -> None:
    model = parse(
        f"(float[N,3,4,4] x) => (float[N,3,4,4] y) {{ r = Relu(x) b = {BN.format('r')} "
        "m = Mul(b, k) y = Add(m, l) }",
        **batch_normalization(3),
        k=normal(3, 1, 1),
        l=normal(1, 3, 1, 1),
    )
    assert op_types(apply(fold_channel_arithmetic, model)) == ["Relu", "BatchNormalization"]
    assert op_types(apply(fold_batch_normalization, model)) == op_types(model)


def test_two_batch_normalizations_become_one() -> None:
    second = {f"{name}2": array for name, array in batch_normalization(3, seed=9).items()}
    model = parse(
        f"(float[N,3] x) => (float[N,3] y) {{ a = {BN.format('x')} "
        "y = BatchNormalization(a, scale2, bias2, mean2, variance2) }",
        **batch_normalization(3),
        **second,
    )
    assert op_types(apply(fold_batch_normalization, model)) == ["BatchNormalization"]


@pytest.mark.parametrize(
    ("shape", "k"),
    [
        ("float[2,3,5]", normal(6)),
        ("float[2,3,5]", np.float32(2)),
        ("float[2,3,5]", normal(1, 1, 6)),
        ("float[5]", np.array([3], np.float32)),
    ],
)
def test_matmul_takes_factors_for_its_columns(shape: str, k: Array) -> None:
    model = parse(
        f"({shape} x) => (float y) {{ m = MatMul(x, w) y = Mul(m, k) }}", w=normal(5, 6), k=k
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    after = apply(fold_channel_arithmetic, model)
    assert op_types(after) == (["MatMul"] if len(shape) > len("float[5]") else ["MatMul", "Mul"])


def test_matmul_takes_factors_for_its_rows() -> None:
    model = parse(
        "(float[2,3,5] x) => (float[2,3,6] y) { m = Mul(x, k) y = MatMul(m, w) }",
        w=normal(5, 6),
        k=normal(5),
    )
    assert op_types(apply(fold_channel_arithmetic, model)) == ["MatMul"]


X = "float[1,3,4,4]"
KEPT = {
    "read twice": f"({X} x) => ({X} y) {{ q = Conv(x, w) m = Mul(q, k) y = Add(m, q) }}",
    "an output": f"({X} x) => ({X} q, {X} y) {{ q = Conv(x, w) y = Mul(q, k) }}",
    "by column": "(float[1,3,4,3] x) => (float[1,3,4,3] y) { q = Conv(x, w) y = Mul(q, row) }",
    "more dims": f"({X} x) => (float[1,1,3,4,4] y) {{ q = Conv(x, w) y = Mul(q, deep) }}",
    "broadcast": f"({X} x) => ({X} y) {{ q = Conv(x, w1) y = Mul(q, k) }}",
    "two values": f"({X} x) => ({X} y) {{ q = Conv(x, w) y = Mul(q, x) }}",
    "square": f"({X} x) => ({X} y) {{ q = Conv(x, w) y = Mul(q, q) }}",
    "divided": f"({X} x) => ({X} y) {{ q = Conv(x, w) y = Div(k, q) }}",
    "by zero": f"({X} x) => ({X} y) {{ q = Conv(x, w) y = Div(q, zero) }}",
    "dynamic": f"({X} x, float[3,3,1,1] v) => ({X} y) {{ q = Conv(x, v) y = Mul(q, k) }}",
    "wider input": f"(float[1,1,4,4] x) => ({X} y) {{ q = Mul(x, k) y = Conv(q, w) }}",
    "as weights": "(float[3,3] x) => (float[3,3] y) { q = Mul(x, s) y = MatMul(s2, q) }",
    "overflow": f"({X} x) => ({X} y) {{ q = Conv(x, w) y = Mul(q, big) }}",
}
"""The value is used elsewhere, has another shape then, or the constant is not for channels."""


@pytest.mark.parametrize("case", KEPT)
def test_what_would_change_the_function_stays(case: str) -> None:
    model = parse(
        KEPT[case],
        w=normal(3, 3, 1, 1),
        w1=normal(1, 3, 1, 1),
        k=positive(3, 1, 1),
        row=positive(3),
        deep=np.full((1, 1, 1, 1, 1), 2, np.float32),
        zero=np.zeros((), np.float32),
        s=np.float32(2),
        s2=normal(3, 3),
        big=np.float32(3e38),
    )
    before = standard(model)
    after = fold_channel_arithmetic(before)
    assert after is before


@pytest.mark.parametrize(
    "attributes",
    ["training_mode=1", ""],
    ids=["training", "statistics"],
)
def test_batch_normalization_in_training_stays(attributes: str) -> None:
    outputs = "b, m, v" if attributes else "b"
    text = (
        f"(float[2,3,4,4] x) => (float[2,3,4,4] y) {{ q = Conv(x, w) {outputs} = "
        f"BatchNormalization<{attributes}>(q, scale, bias, mean, variance) y = Relu(b) }}"
    )
    model = parse(text.replace("<>", ""), **batch_normalization(3), w=normal(3, 3, 1, 1))
    after = apply(fold_batch_normalization, model)
    assert ("BatchNormalization" in op_types(after)) == bool(attributes)


def test_batch_normalization_of_computed_statistics_stays() -> None:
    text = (
        "(float[2,3,4,4] x, float[3] mean) => (float[2,3,4,4] y) { q = Conv(x, w) "
        "y = BatchNormalization(q, scale, bias, mean, variance) }"
    )
    constants = {name: one for name, one in batch_normalization(3).items() if name != "mean"}
    model = parse(text, **constants, w=normal(3, 3, 1, 1))
    assert op_types(apply(fold_batch_normalization, model)) == op_types(model)


def test_a_dead_channel_of_variance_0_is_folded() -> None:
    constants = batch_normalization(3) | {"variance": np.zeros(3, np.float32)}
    model = parse(
        f"(float[2,3,4,4] x) => (float[2,3,4,4] y) {{ q = Conv(x, w) y = {BN.format('q')} }}",
        **constants,
        w=normal(3, 3, 1, 1),
    )
    assert op_types(apply(fold_batch_normalization, model)) == ["Conv"]


def test_a_negative_variance_stays() -> None:
    constants = batch_normalization(3) | {"variance": np.full(3, -1, np.float32)}
    model = standard(
        parse(
            f"(float[2,3,4,4] x) => (float[2,3,4,4] y) {{ q = Conv(x, w) y = {BN.format('q')} }}",
            **constants,
            w=normal(3, 3, 1, 1),
        )
    )
    assert fold_batch_normalization(model) is model


def test_shared_weights_keep_their_value_for_others() -> None:
    model = parse(
        "(float[1,3,4,4] x) => (float[1,3,4,4] y, float[1,3,4,4] z) "
        "{ a = Conv(x, w, c) y = Mul(a, k) b = Conv(x, w, c) z = Add(b, k) }",
        w=normal(3, 3, 1, 1),
        c=normal(3),
        k=normal(3, 1, 1),
    )
    after = apply(fold_channel_arithmetic, model)
    assert op_types(after) == ["Conv", "Conv"]
    first, second = after.graph.node
    assert first.input[1] != second.input[1]
    assert np.array_equal(constant(after, "w"), constant(model, "w"))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_keep_their_type(dtype: type[np.floating[Any]]) -> None:
    name = {np.float16: "float16", np.float64: "double"}[dtype]
    model = parse(
        f"({name}[4,3] x) => ({name}[4,5] y) {{ q = MatMul(x, w) y = Mul(q, k) }}",
    )
    for key, array in {"w": normal(3, 5), "k": normal(5)}.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(dtype), key))
    after = fold_channel_arithmetic(standard(model))
    assert op_types(after) == ["MatMul"]
    assert constant(after, "w").dtype == dtype
    assert_same_function(model, after, tolerance=1e-2 if dtype == np.float16 else 1e-9)


def test_folding_rounds_once() -> None:
    """The weights are what exact arithmetic gives, rounded to float32."""
    constants = batch_normalization(6)
    after = apply(fold_batch_normalization, layer_model("conv", [], [bn_node("q", "y")], constants))
    wide = {name: array.astype(np.float64) for name, array in constants.items()}
    epsilon = float(np.float32(0.003))
    factor = wide["scale"] / np.sqrt(wide["variance"] + epsilon)
    expected = (normal(6, 4, 3, 2) * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
    assert np.array_equal(constant(after, "w"), expected)

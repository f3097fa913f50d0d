"""Models of every opset become models of opset 13 to 23 with the same function."""

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from furiosa_ep.quantization import QuantizationError
from furiosa_ep.quantization.optimize import optimize
from furiosa_ep.quantization.optimize.opset import HIGHEST, LOWEST, convert_opset
from tests.quantization.optimizing import (
    assert_same_function,
    batch_normalization,
    normal,
    op_types,
    parse,
)

X = "float[2,3,4,4]"
FIRST = 8


def opset_of(model: onnx.ModelProto) -> int:
    (entry,) = (one for one in model.opset_import if not one.domain)
    return int(entry.version)


# Operators whose form changed on the way, each with the opsets that have this form.
FORMS: dict[str, tuple[int, int, str]] = {
    "Clip": (8, 10, "y = Clip<min=-0.5, max=0.5>(x)"),
    "Clip, one limit": (8, 10, "y = Clip<max=0.5>(x)"),
    "Clip with inputs": (11, 23, "y = Clip(x, low, high)"),
    "Softmax": (8, 12, "y = Softmax<axis=1>(x)"),
    "Softmax of the last axis": (8, 12, "y = Softmax<axis=3>(x)"),
    "LogSoftmax": (8, 12, "y = LogSoftmax<axis=2>(x)"),
    "Squeeze": (8, 12, "u = Unsqueeze<axes=[0]>(x) v = Relu(u) y = Squeeze<axes=[0]>(v)"),
    "Squeeze with inputs": (13, 23, "u = Unsqueeze(x, zero) v = Relu(u) y = Squeeze(v, zero)"),
    "ReduceMean": (8, 17, "y = ReduceMean<axes=[2,3]>(x)"),
    "ReduceSum": (8, 12, "y = ReduceSum<axes=[1], keepdims=0>(x)"),
    "ReduceMax": (8, 17, "y = ReduceMax<axes=[1]>(x)"),
    "Pad": (8, 10, "y = Pad<pads=[0,0,1,0,0,0,0,2], value=1.5>(x)"),
    "Pad to reflect": (8, 10, 'y = Pad<mode="reflect", pads=[0,0,1,0,0,0,0,2]>(x)'),
    "Pad of less than nothing": (8, 10, "y = Pad<pads=[0,0,-1,0,0,0,0,-2]>(x)"),
    "Slice": (8, 9, "y = Slice<axes=[1,3], starts=[0,-3], ends=[2,9]>(x)"),
    "Split": (8, 12, "a, b = Split<axis=1, split=[1,2]>(x) c = Neg(b) y = Concat<axis=1>(c, a)"),
    "Split in halves": (8, 12, "a, b = Split<axis=2>(x) y = Sub(b, a)"),
    "Upsample": (8, 8, 'y = Upsample<mode="nearest", scales=[1.0,1.0,2.0,3.0]>(x)'),
    "Upsample with inputs": (9, 9, 'y = Upsample<mode="nearest">(x, scales)'),
    "Resize": (10, 10, 'y = Resize<mode="nearest">(x, scales)'),
    "TopK": (8, 9, "y, i = TopK<k=2>(x)"),
    "BatchNormalization": (8, 23, "y = BatchNormalization(x, scale, bias, mean, variance)"),
    "Dropout": (8, 11, "d = Dropout<ratio=0.3>(x) y = Relu(d)"),
    "Cast": (8, 23, "i = Cast<to=7>(x) y = Cast<to=1>(i)"),
    "Gemm": (8, 23, "f = Flatten(x) y = Gemm<transB=1, alpha=0.5>(f, matrix, row)"),
    "AveragePool": (8, 23, "y = AveragePool<kernel_shape=[2,2], pads=[1,0,0,1]>(x)"),
    "MaxPool": (8, 23, "y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(x)"),
    "PRelu": (8, 23, "y = PRelu(x, slope)"),
    "ConvTranspose": (8, 23, "y = ConvTranspose<strides=[2,2]>(x, upwards)"),
    "Conv": (8, 23, 'y = Conv<auto_pad="SAME_UPPER">(x, kernel)'),
    "DepthToSpace": (8, 23, "t = Transpose<perm=[0,2,1,3]>(x) y = DepthToSpace<blocksize=2>(t)"),
    "Sum": (8, 23, "y = Sum(x, x, x)"),
    "Elu": (8, 23, "a = Elu(x) b = LeakyRelu(a) c = Sigmoid(b) y = HardSigmoid(c)"),
    "HardSwish": (14, 23, "y = HardSwish(x)"),
    "LayerNormalization": (17, 23, "y = LayerNormalization(x, gain)"),
    "Gelu": (20, 23, "y = Gelu(x)"),
}
CASES = [
    pytest.param(opset, body, id=f"{name}-{opset}")
    for name, (first, last, body) in FORMS.items()
    for opset in range(first, last + 1)
    if opset in (first, last, 8, 10, 11, 12, 13, 17, 18, 21)
]
CONSTANTS: dict[str, npt.ArrayLike] = {
    "low": np.float32(-0.5),
    "high": np.float32(0.5),
    "zero": np.array([0]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "matrix": normal(5, 48),
    "row": normal(5),
    "slope": normal(3, 1, 1),
    "upwards": normal(3, 2, 2, 2),
    "kernel": normal(2, 3, 3, 3),
    "gain": normal(4),
    **batch_normalization(3),
}


@pytest.mark.parametrize(("opset", "body"), CASES)
def test_operators_of_every_opset_keep_their_function(opset: int, body: str) -> None:
    model = parse(f"({X} x) => (float y) {{ {body} }}", opset, **CONSTANTS)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    after = optimize(model)
    assert opset_of(after) == max(opset, LOWEST)
    onnx.checker.check_model(after, full_check=True)
    assert assert_same_function(model, after) < 1e-6


def test_all_opsets_are_tried() -> None:
    assert {case.values[0] for case in CASES} >= {*range(FIRST, 14), 17, 18, 21, HIGHEST}


@pytest.mark.parametrize("opset", range(LOWEST, HIGHEST + 1))
def test_an_opset_that_will_do_stays(opset: int) -> None:
    model = parse(f"({X} x) => ({X} y) {{ y = Relu(x) }}", opset)
    assert convert_opset(model) is model


def test_a_later_opset_is_lowered_where_it_can_be() -> None:
    model = parse(f"({X} x) => ({X} y) {{ y = Softmax(x) }}", HIGHEST + 1)
    assert opset_of(optimize(model, check=False)) == HIGHEST


def test_an_opset_that_cannot_be_converted_is_told() -> None:
    text = f"({X} x) => ({X} y) {{ y = Swish(x) }}"
    message = (
        f"the model has opset {HIGHEST + 1}, and its conversion to {HIGHEST} failed: No Previous "
        f"Version of Swish exists; export it again with opset {HIGHEST} or earlier"
    )
    with pytest.raises(QuantizationError, match=f"^{message}$"):
        optimize(parse(text, HIGHEST + 1), check=False)


def test_a_model_too_old_to_convert_is_told() -> None:
    body = "(float[2] x) => (float[4] y) { y = Pad<paddings=[1,1]>(x) }"
    with pytest.raises(QuantizationError, match=rf"opset 1.*failed.*Pad.*{LOWEST} or later"):
        optimize(parse(body, 1), check=False)


def test_subgraphs_are_converted_too() -> None:
    model = parse(
        "(bool c, float[1,3] x) => (float[3] y) { y = If(c) <"
        "then_branch = f () => (float[3] a) { a = Squeeze<axes=[0]>(x) }, "
        "else_branch = g () => (float[3] b) { n = Neg(x) b = Squeeze<axes=[0]>(n) }> }",
        11,
    )
    after = optimize(model)
    assert opset_of(after) == LOWEST
    for choice in (True, False):
        assert_same_function(model, after, {"c": np.array(choice), "x": normal(1, 3)})


def test_conversion_keeps_large_weights_names_and_metadata() -> None:
    model = parse(
        "(float[N,64] x) => (float[N,64] y) { [layer] m = MatMul(x, big) "
        "a = Add(m, small) y = Clip<min=0.0>(a) }",
        9,
        big=normal(64, 64),
        small=normal(64),
    )
    onnx.helper.set_model_props(model, {"key": "value"})
    model.producer_name = "me"
    after = optimize(model)
    assert op_types(after) == ["Gemm", "Relu"] or op_types(after) == ["Gemm", "Clip"]
    assert after.graph.node[0].name == "layer"
    assert after.graph.input == model.graph.input
    assert after.graph.output == model.graph.output
    assert [(entry.key, entry.value) for entry in after.metadata_props] == [("key", "value")]
    assert after.producer_name == "me"
    assert "big" in {tensor.name for tensor in after.graph.initializer}


def test_operators_of_others_keep_their_opset() -> None:
    model = parse("(float[2] x) => (float[2] y) { a = acme.Thing(x) y = Clip<min=0.0>(a) }", 10)
    after = optimize(model, check=False)
    assert {entry.domain: entry.version for entry in after.opset_import} == {"": LOWEST, "acme": 1}
    assert op_types(after)[0] == "Thing"


def test_a_model_of_other_operators_alone_gets_an_opset() -> None:
    model = parse("(float[2] x) => (float[2] y) { y = acme.Thing(x) }")
    del model.opset_import[0]
    after = optimize(model, check=False)
    assert {entry.domain: entry.version for entry in after.opset_import} == {"acme": 1, "": LOWEST}

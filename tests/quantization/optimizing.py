"""What the tests of graph optimisation share: models as text, their runs, and rewrites alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.checker
import onnx.parser
import onnxruntime as ort
from onnx import helper, numpy_helper

from furiosa_ep.quantization.optimize import Rewrite
from furiosa_ep.quantization.optimize.opset import convert_opset
from furiosa_ep.quantization.optimize.shapes import infer_shapes
from furiosa_ep.quantization.optimize.standard_form import to_standard_form

Array = npt.NDArray[Any]

X = "float[2,3,4,5]"
"""The type of an image, in ONNX's text."""


def parse(body: str, opset: int = 17, /, **constants: npt.ArrayLike) -> onnx.ModelProto:
    """A model from ONNX's text, `g (inputs) => (outputs) { nodes }`, and its initializers."""
    text = f'<ir_version: 8, opset_import: ["": {opset}, "acme": 1]> g {body}'
    model = onnx.parser.parse_model(text)
    for name, value in constants.items():
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random numbers."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def positive(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random numbers from 0.5 to 2."""
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2, shape).astype(np.float32)


def batch_normalization(channels: int, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """The initializers `scale`, `bias`, `mean` and `variance`."""
    return {
        "scale": normal(channels, seed=seed),
        "bias": normal(channels, seed=seed + 1),
        "mean": normal(channels, seed=seed + 2),
        "variance": positive(channels, seed=seed + 3),
    }


def network(opset: int = 17) -> onnx.ModelProto:
    """Something for many rewrites, on an open batch, with metadata."""
    model = parse(
        "(float[N,3,8,8] images) => (float[N,5] scores) {"
        "  scaled = Mul(images, factor)"
        "  padded = Pad(scaled, pads)"
        "  [first] c = Conv(padded, w)"
        "  b = BatchNormalization(c, scale, bias, mean, variance)"
        "  p = PRelu(b, slope)"
        "  d = Dropout(p)"
        "  [second] t = ConvTranspose(d, v)"
        "  a = Add(t, shift)"
        "  m = Max(a, zero)"
        "  r = Min(m, six)"
        "  g = GlobalAveragePool(r)"
        "  s = Shape(g) i = Gather(s, first_index) k = Concat<axis=0>(i, minus)"
        "  f = Reshape(g, k)"
        "  [last] x = MatMul(f, u)"
        "  y = Add(x, e)"
        "  scores = Identity(y) }",
        opset,
        factor=np.float32(0.5),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        w=normal(4, 3, 3, 3),
        slope=np.full((1, 1, 1), 0.1, np.float32),
        v=normal(4, 6, 2, 2),
        shift=normal(6, 1, 1),
        zero=np.float32(0),
        six=np.float32(6),
        first_index=np.array([0]),
        minus=np.array([-1]),
        u=normal(6, 5),
        e=normal(1, 5),
        **batch_normalization(4),
    )
    helper.set_model_props(model, {"character": "a\nb"})
    model.producer_name, model.doc_string, model.graph.doc_string = "me", "a model", "a graph"
    return model


def run(model: onnx.ModelProto, feed: dict[str, Array]) -> list[Array]:
    """The outputs of a model, computed without ONNX Runtime's own optimisations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[Array] = session.run(None, feed)
    return outputs


def feed_of(model: onnx.ModelProto, length: int = 2) -> dict[str, Array]:
    """Random inputs; open dims are `length` long, integers 0 or 1."""
    random = np.random.default_rng(7)
    constants = {tensor.name for tensor in model.graph.initializer}
    feed = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [dim.dim_value if dim.dim_value > 0 else length for dim in tensor.shape.dim]
        array = random.normal(size=shape) if dtype.kind == "f" else random.integers(0, 2, shape)
        feed[value.name] = array.astype(dtype)
    return feed


def assert_same_function(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    feed: dict[str, Array] | None = None,
    tolerance: float = 1e-5,
) -> float:
    """Outputs are equal up to a part of their range; how far they are apart, as such a part."""
    feed = feed_of(before) if feed is None else feed
    names = [value.name for value in before.graph.output]
    assert names == [value.name for value in after.graph.output]
    worst = 0.0
    for name, first, second in zip(names, run(before, feed), run(after, feed), strict=True):
        assert first.dtype == second.dtype, name
        assert first.shape == second.shape, name
        if first.dtype.kind != "f":
            assert np.array_equal(first, second), name
            continue
        limit = max(float(np.ptp(np.append(first[np.isfinite(first)], 0))), 1e-2)
        np.testing.assert_allclose(second, first, rtol=0, atol=tolerance * limit, err_msg=name)
        if first.size:
            worst = max(worst, float(np.nanmax(np.abs(first - second))) / limit)
    return worst


def standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """What rewrites take."""
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    to_standard_form(prepared)
    prepared = convert_opset(prepared)
    infer_shapes(prepared)
    return prepared


def apply(rewrite: Rewrite, model: onnx.ModelProto) -> onnx.ModelProto:
    """A rewrite on a model, with everything that is promised of rewrites checked."""
    before = standard(model)
    data = before.SerializeToString(deterministic=True)
    after = rewrite(before)
    assert before.SerializeToString(deterministic=True) == data, "the given model has changed"
    onnx.checker.check_model(after, full_check=True)
    infer_shapes(after)
    again = after
    for _ in range(4):
        last, again = again, rewrite(again)
        infer_shapes(again)
    assert again is last, f"{rewrite.__name__} comes to no end"
    assert [value.name for value in after.graph.input] == [v.name for v in before.graph.input]
    assert_same_function(before, after)
    return after


def op_types(model: onnx.ModelProto) -> list[str]:
    """The operators in the order of the graph."""
    return [node.op_type for node in model.graph.node]


def counts(model: onnx.ModelProto) -> Counter[str]:
    """How often each operator is there."""
    return Counter(op_types(model))


def constant(model: onnx.ModelProto, name: str) -> Array:
    """The value of an initializer."""
    (tensor,) = (one for one in model.graph.initializer if one.name == name)
    array: Array = numpy_helper.to_array(tensor)
    return array


def inputs_of(model: onnx.ModelProto, op_type: str) -> Sequence[str]:
    """The inputs of the only node of an operator."""
    (node,) = (one for one in model.graph.node if one.op_type == op_type)
    return list(node.input)


def attributes_of(model: onnx.ModelProto, op_type: str) -> dict[str, Any]:
    """The attributes of the only node of an operator."""
    (node,) = (one for one in model.graph.node if one.op_type == op_type)
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}

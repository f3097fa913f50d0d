"""`optimize`: what it takes, what it keeps, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.quantization import QuantizationError
from furiosa_ep.quantization.optimize import REWRITES, optimize, pipeline
from tests.quantization.optimizing import (
    apply,
    assert_same_function,
    constant,
    feed_of,
    network,
    normal,
    op_types,
    parse,
    run,
)

SHORT = ["Conv", "LeakyRelu", "ConvTranspose", "Clip", "GlobalAveragePool", "Reshape", "Gemm"]


@pytest.mark.parametrize("check", [True, False])
def test_all_rewrites_work_together(check: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = network()
    after = optimize(model, check=check)
    assert op_types(after) == SHORT
    assert [node.name for node in after.graph.node if node.name] == ["first", "second", "last"]
    assert assert_same_function(model, after) < 1e-6
    onnx.checker.check_model(after, full_check=True)
    assert not caplog.records


def test_nothing_is_left_to_do() -> None:
    after = optimize(network())
    assert optimize(after) == after


def test_the_given_model_is_left_as_it_is() -> None:
    model = network()
    optimize(model)
    assert model == network()


def test_the_model_may_be_a_path_bytes_or_a_proto(tmp_path: Path) -> None:
    model = network()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    expected = optimize(model)
    assert optimize(path) == expected
    assert optimize(str(path)) == expected
    assert optimize(model.SerializeToString()) == expected


def test_names_metadata_and_shapes_are_kept() -> None:
    model = network()
    after = optimize(model)
    assert after.graph.input == model.graph.input
    assert after.graph.output == model.graph.output
    assert {entry.key: entry.value for entry in after.metadata_props} == {"character": "a\nb"}
    assert (after.producer_name, after.doc_string) == ("me", "a model")
    assert (after.graph.name, after.graph.doc_string) == ("g", "a graph")
    values = {value.name: value.type.tensor_type.shape for value in after.graph.value_info}
    assert set(values) == {name for node in after.graph.node for name in node.output} - {"scores"}
    dims = [dim.dim_param or dim.dim_value for dim in values["g"].dim]
    assert dims == ["N", 6, 1, 1]


def test_unused_weights_go_and_used_ones_keep_their_names() -> None:
    names = {tensor.name for tensor in optimize(network()).graph.initializer}
    assert {"w", "v", "u"} <= names
    assert not names & {"scale", "mean", "slope", "factor", "pads", "shift"}


def test_initializers_are_no_inputs() -> None:
    """As they are in files of IR version 3, which need not even say that they are constant."""
    model = network(9 + 4)
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    model.ir_version = 3
    after = optimize(model)
    assert [value.name for value in after.graph.input] == ["images"]
    assert after.ir_version == 7
    assert op_types(after) == SHORT


def test_open_dims_of_length_minus_one_are_open() -> None:
    model = network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    after = optimize(model)
    assert not after.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")
    assert op_types(after) == SHORT


def test_the_domain_of_onnx_may_be_spelled_out() -> None:
    model = network()
    model.opset_import[0].domain = "ai.onnx"
    for node in model.graph.node:
        node.domain = "ai.onnx"
    assert op_types(optimize(model)) == SHORT


def external(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="data", size_threshold=0)
    return path


def test_weights_in_a_file_are_read(tmp_path: Path) -> None:
    path = external(network(), tmp_path)
    after = optimize(path)
    assert op_types(after) == SHORT
    assert_same_function(network(), after)
    assert all(not tensor.external_data for tensor in after.graph.initializer)


def test_weights_in_a_file_that_is_missing_are_told(tmp_path: Path) -> None:
    path = external(network(), tmp_path)
    (tmp_path / "data").unlink()
    with pytest.raises(QuantizationError, match=r"file of the weights .* cannot be read"):
        optimize(path)


def test_weights_in_a_file_need_a_path(tmp_path: Path) -> None:
    path = external(network(), tmp_path)
    for model in (path.read_bytes(), onnx.load(path, load_external_data=False)):
        with pytest.raises(QuantizationError, match="give the model's path"):
            optimize(model)


def test_constants_of_subgraphs_in_a_file_are_told(tmp_path: Path) -> None:
    model = branches()
    tensor = model.graph.node[-1].attribute[0].g.initializer.add()
    tensor.CopyFrom(numpy_helper.from_array(normal(2), "t"))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="data")
    with pytest.raises(QuantizationError, match="'t' are in a file"):
        optimize(model)


def branches(opset: int = 17) -> onnx.ModelProto:
    return parse(
        "(bool b, float[2,3] x) => (float[2,3] y) { n = Neg(k) i = Identity(x) r = Relu(i) "
        "j = Identity(r) e = Dropout(j) y = If(b) <"
        "then_branch = f () => (float[2,3] u) { z = Identity(e) u = Add(z, n) }, "
        "else_branch = g () => (float[2,3] v) { q = Squeeze(one) v = Mul(x, q) }> }",
        opset,
        k=normal(2, 3),
        one=np.ones((1, 1), np.float32),
    )


@pytest.mark.parametrize("branch", [True, False])
def test_subgraphs_stay_as_they_are(branch: bool) -> None:
    model = branches()
    after = optimize(model)
    assert after.graph.node[-1] == model.graph.node[-1]
    assert op_types(after) == ["Relu", "Dropout", "If"] or op_types(after) == ["Relu", "If"]
    feed = {"b": np.array(branch), "x": normal(2, 3)}
    assert_same_function(model, after, feed)


def test_new_names_are_not_those_within_subgraphs() -> None:
    model = parse(
        "(bool b, float[2] x) => (float[2] y) { m = Max(x, one) y = If(b) <"
        "then_branch = f () => (float[2] u) { m_min = Exp(m) u = Neg(m_min) }, "
        "else_branch = g () => (float[2] v) { v = Neg(m) }> }",
        one=np.float32(1),
    )
    after = optimize(model)
    assert op_types(after) == ["Clip", "If"]
    assert "m_min" not in {tensor.name for tensor in after.graph.initializer}
    onnx.checker.check_model(after, full_check=True)


def test_loops_stay_as_they_are() -> None:
    model = parse(
        "(float[2] x) => (float[2] y) { n = Identity(count) k = Neg(c) a = Identity(x) "
        "y = Loop(n, yes, a) <body = f (int64 i, bool go, float[2] s) => (bool more, float[2] t) "
        "{ more = Identity(go) t = Add(s, k) }> }",
        count=np.int64(3),
        yes=np.array(True),
        c=normal(2),
    )
    after = optimize(model)
    assert op_types(after) == ["Loop"]
    assert_same_function(model, after)


def test_functions_of_the_model_are_expanded() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "own": 1]>
        g (float[N,4] x) => (float[N,4] y) { y = own.scaled(x) }
        <domain: "own", opset_import: ["": 17]>
        scaled (v) => (w) { k = Constant<value = float {3.0}>() m = Mul(v, k) w = Relu(m) }"""
    )
    after = optimize(model)
    assert op_types(after) == ["Mul", "Relu"]
    assert not after.functions
    assert [entry.domain for entry in after.opset_import] == [""]
    assert_same_function(model, after)


def test_a_quantized_model_keeps_its_nodes() -> None:
    """A model of quantization-aware training: nothing between Q and DQ is touched."""
    model = parse(
        "(float[N,3,4,4] x) => (float[N,2,4,4] y) { q = QuantizeLinear(x, s, z) "
        "d = DequantizeLinear(q, s, z) v = DequantizeLinear<axis=0>(w, t, o) "
        "c = Conv(d, v) i = Identity(c) r = Relu(i) f = QuantizeLinear(r, s, z) "
        "y = DequantizeLinear(f, s, z) }",
        s=np.float32(0.05),
        z=np.uint8(128),
        w=np.arange(-3, 3, dtype=np.int8).reshape(2, 3, 1, 1),
        t=np.array([0.1, 0.2], np.float32),
        o=np.zeros(2, np.int8),
    )
    after = optimize(model)
    assert op_types(after) == [one for one in op_types(model) if one != "Identity"]
    assert np.array_equal(run(model, feed_of(model))[0], run(after, feed_of(model))[0])


def test_operators_of_others_stay_where_nothing_is_checked() -> None:
    model = parse(
        "(float[2] x) => (float[2] y) { a = Identity(x) b = acme.Thing<k=3>(a) y = Identity(b) }"
    )
    after = optimize(model, check=False)
    (node,) = after.graph.node
    assert (node.domain, node.op_type, list(node.input), list(node.output)) == (
        "acme",
        "Thing",
        ["x"],
        ["y"],
    )
    with pytest.raises(QuantizationError, match="ONNX Runtime does not take the model"):
        optimize(model)


def test_outputs_without_a_shape_get_theirs() -> None:
    model = network()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    after = optimize(model)
    onnx.checker.check_model(after)
    dims = after.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["N", 5]


def test_sparse_weights_pass() -> None:
    model = parse("(float[2,2] x) => (float[2,2] y) { i = Identity(x) y = MatMul(i, w) }")
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    places = numpy_helper.from_array(np.array([0, 3]), "w_places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 2]))
    after = optimize(model)
    assert op_types(after) == ["MatMul"]
    assert_same_function(model, after)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.graph.node[2].input.__setitem__(0, "nowhere"),
        lambda model: model.graph.node[2].__setattr__("op_type", "Convolution"),
        lambda model: model.graph.node[2].output.__setitem__(0, "scaled"),
        lambda model: model.opset_import.__delitem__(slice(None)),
        lambda model: model.graph.initializer[2].ClearField("raw_data"),
        lambda model: model.graph.input[0].ClearField("type"),
        lambda model: model.graph.ClearField("name"),
        lambda model: model.ClearField("graph"),
        lambda model: model.__setattr__("ir_version", 10_000),
    ],
    ids=["value", "operator", "twice", "opset", "data", "type", "name", "graph", "ir"],
)
def test_nonsense_is_refused(change: Callable[[onnx.ModelProto], None]) -> None:
    model = network()
    change(model)
    with pytest.raises(QuantizationError, match="not a valid ONNX model"):
        optimize(model, check=False)


@pytest.mark.parametrize("model", [b"\x00nonsense", "missing.onnx", Path(), b"", onnx.ModelProto()])
def test_what_is_no_model_is_refused(model: object) -> None:
    with pytest.raises(QuantizationError):
        optimize(model)  # type: ignore[arg-type]


def test_a_model_that_onnx_runtime_refuses_is_told() -> None:
    model = parse("(float[2] x, float[3] z) => (float[2] y) { y = Add(x, z) }")
    with pytest.raises(QuantizationError, match="ONNX Runtime does not take the model"):
        optimize(model)


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.__name__)
def test_each_rewrite_alone_keeps_the_function(rewrite: pipeline.Rewrite) -> None:
    for model in (network(), branches()):
        apply(rewrite, model)


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.__name__)
def test_each_rewrite_is_documented(rewrite: pipeline.Rewrite) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "quantization.md"
    assert f"`{rewrite.__name__}`" in page.read_text()


def test_weights_are_never_written_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of 2 GB and more cannot be: what is serialised has no large initializers."""
    from furiosa_ep.quantization.optimize import copies, opset, shapes, standard_form

    seen = []
    light_copy = copies.light_copy

    def spy(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.TensorProto]]:
        light, heavy = light_copy(model)
        seen.append(light.ByteSize())
        return light, heavy

    for module in (copies, opset, shapes, standard_form):
        monkeypatch.setattr(module, "light_copy", spy)
    model = parse(
        "(float[1,512] x) => (float[1,512] y) { m = MatMul(x, w) y = Add(m, b) }",
        w=normal(512, 512),
        b=normal(512),
    )
    after = optimize(model)
    assert op_types(after) == ["Gemm"]
    assert seen
    assert max(seen) < 4096
    assert np.array_equal(constant(after, "w"), normal(512, 512))

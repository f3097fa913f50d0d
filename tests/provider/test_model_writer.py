"""The graph that ONNX Runtime holds arrives whole at the compiler."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.provider.fake_driver import Behaviour
from tests.provider.models import chain, model

PROVIDERS = ["FuriosaProvider", "CPUExecutionProvider"]


def shown(driver: Behaviour, made: onnx.ModelProto | bytes) -> onnx.GraphProto:
    """The graph of `made` as the provider gives it to the compiler."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = made if isinstance(made, bytes) else made.SerializeToString()
    ort.InferenceSession(data, options, providers=PROVIDERS)
    return driver.models[-1].graph


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def dims(value: onnx.ValueInfoProto) -> list[int | str | None] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in tensor.shape.dim
    ]


def test_attributes_of_every_type(driver: Behaviour) -> None:
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["x"],
            ["labels"],
            domain="ai.onnx.ml",
            keys_floats=[0.0, 1.0, -1.25],
            values_int64s=[2**40, -1, 0],
            default_int64=-7,
        ),
        helper.make_node(
            "LabelEncoder",
            ["labels"],
            ["names"],
            domain="ai.onnx.ml",
            keys_int64s=[-1, 5],
            values_strings=["minus", ""],
            default_string="näh",
        ),
        helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.125),
        helper.make_node("ConstantOfShape", ["shape"], ["filled"], value=_tensor(3)),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [
            helper.make_tensor_value_info("names", TensorProto.STRING, [2]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2]),
            helper.make_tensor_value_info("filled", TensorProto.INT64, None),
            helper.make_tensor_value_info("text", TensorProto.STRING, [3]),
        ],
        [numpy_helper.from_array(np.array([2, 0], np.int64), "shape")],
    )
    text = graph.initializer.add(name="text", data_type=TensorProto.STRING, dims=[3])
    text.string_data.extend([b"one", "zwölf".encode(), b""])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    seen = {node.op_type + node.output[0]: attributes(node) for node in shown(driver, made).node}
    integers = seen["LabelEncoderlabels"]
    assert integers["keys_floats"] == [0.0, 1.0, -1.25]
    assert integers["values_int64s"] == [2**40, -1, 0]
    assert integers["default_int64"] == -7
    assert seen["LabelEncodernames"]["values_strings"] == [b"minus", b""]
    assert seen["LabelEncodernames"]["default_string"] == "näh".encode()
    assert seen["LeakyReluy"]["alpha"] == 0.125
    value = seen["ConstantOfShapefilled"]["value"]
    assert isinstance(value, onnx.TensorProto)
    assert numpy_helper.to_array(value).tolist() == [3]
    assert list(driver.constants[-1]["text"]) == ["one", "zwölf", ""]


def _tensor(value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array([value], np.int64))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u1", "i4", "i8", "?", "f2", "u2"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (40, 70)])
def test_initializers(driver: Behaviour, dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(1).normal(size=shape) * 50).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["c"], ["y"]),
            helper.make_node("Cast", ["c"], ["z"], to=TensorProto.FLOAT),
        ],
        "test",
        [],
        [
            helper.make_tensor_value_info("y", TensorProto.INT64, [len(shape)]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, shape),
        ],
        [numpy_helper.from_array(array, "c")],
    )
    opsets = [helper.make_opsetid("", 17)]
    seen = shown(driver, helper.make_model(graph, opset_imports=opsets, ir_version=9))
    assert [one.name for one in seen.initializer] == ["c"]
    assert seen.initializer[0].data_type == kind
    np.testing.assert_array_equal(driver.constants[-1]["c"], array, strict=True)


def test_shapes_as_far_as_they_are_known(driver: Behaviour) -> None:
    made = model(
        [helper.make_node("Neg", [name], ["-" + name]) for name in ("a", "b", "c", "d")],
        {"a": (), "b": None, "c": ("N", 3, "H"), "d": (2, 0)},
        {"-a": (), "-b": None, "-c": ("N", 3, "H"), "-d": (2, 0)},
    )
    graph = shown(driver, made)
    expected = {"a": [], "b": None, "c": ["N", 3, "H"], "d": [2, 0]}
    assert {one.name: dims(one) for one in graph.input} == expected
    outputs = {"-" + name: value for name, value in expected.items()}
    assert {one.name: dims(one) for one in graph.output} == outputs


def test_optional_inputs_that_are_absent(driver: Behaviour) -> None:
    nodes = [helper.make_node("Clip", ["x", "", "top"], ["y"])]
    made = model(nodes, {"x": (2,)}, {"y": (2,)}, {"top": np.array(1, np.float32)})
    assert list(shown(driver, made).node[0].input) == ["x", "", "top"]


def test_an_initializer_that_a_caller_can_override_is_an_input(driver: Behaviour) -> None:
    made = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        {"x": (2, 3), "w": (2, 3)},
        {"y": (2, 3)},
        {"w": np.ones((2, 3), np.float32)},
    )
    graph = shown(driver, made)
    assert [one.name for one in graph.input] == ["x", "w"]
    assert not graph.initializer
    session = ort.InferenceSession(made, providers=PROVIDERS)
    x = np.zeros((2, 3), np.float32)
    assert session.run(None, {"x": x})[0].tolist() == [[1] * 3] * 2
    assert session.run(None, {"x": x, "w": x + 5})[0].tolist() == [[5] * 3] * 2


def test_nodes_come_in_topological_order(driver: Behaviour) -> None:
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"], f"n{i}") for i in range(12)]
    made = model(nodes[6:] + nodes[:6], {"v0": (2,)}, {"v12": (2,)})
    names = [node.name for node in shown(driver, made).node]
    assert names == [f"n{i}" for i in range(12)]


@pytest.mark.parametrize("threshold", [0, 1024])
def test_external_data(driver: Behaviour, tmp_path: Path, threshold: int) -> None:
    weights = np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32)
    made = onnx.load_model_from_string(
        model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": (1, 60)}, {"y": (50, 60)})
    )
    made.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    path = tmp_path / "model.onnx"
    onnx.save_model(made, path, save_as_external_data=True, size_threshold=threshold)
    x = np.ones((1, 60), np.float32)
    session = ort.InferenceSession(
        path, providers=[("FuriosaProvider", {"disabled_ops": "Add"}), "CPUExecutionProvider"]
    )
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + weights)
    np.testing.assert_array_equal(driver.constants[-1]["w"], weights)


def test_a_truncated_model_is_an_error_of_onnxruntime(driver: Behaviour) -> None:
    with pytest.raises(Exception, match="protobuf parsing failed"):
        ort.InferenceSession(chain()[:-20], providers=PROVIDERS)
    assert driver.models == []

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from furiosa_ep.compiler.errors import CompileError
from furiosa_ep.compiler.folding import FOLDABLE, fold, fold_shape
from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner import shape_arithmetic


def node_of(op_type: str, count: int, outputs: int = 1, **attributes: Any) -> Node:
    names = [f"i{i}" for i in range(count)]
    node = onnx.helper.make_node(op_type, names, [f"o{i}" for i in range(outputs)], **attributes)
    graph = onnx.helper.make_graph([node], "g", [], [])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    return Graph.from_model(model).nodes[0]


def on_cpu(node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    def info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        return onnx.helper.make_tensor_value_info(name, dtype, array.shape)

    graph = onnx.helper.make_graph(
        [node.proto],
        "g",
        [info(name, array) for name, array in zip(node.inputs, inputs, strict=True)],
        [onnx.ValueInfoProto(name=name) for name in node.outputs],
    )
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [
        np.asarray(one) for one in session.run(None, dict(zip(node.inputs, inputs, strict=True)))
    ]


I = np.int64  # noqa: E741
A = np.array([7, -3, 5], I)
B = np.array([2, 2, -4], I)
X = np.arange(24, dtype=I).reshape(2, 3, 4)
FLOATS = np.array([0.5, -1.5, 2.5, 3.2], np.float32)
MASK = np.array([True, False, True])

CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    *((name, [A, B], {}) for name in ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max")),
    *((name, [A, B], {}) for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    ("Min", [A, B, A - 1], {}),
    ("Max", [A], {}),
    ("Div", [FLOATS, np.float32(3)], {}),
    *((name, [A], {}) for name in ("Neg", "Abs", "Identity")),
    *((name, [FLOATS], {}) for name in ("Floor", "Ceil", "Round")),
    ("Sqrt", [np.abs(FLOATS)], {}),
    ("And", [MASK, ~MASK], {}),
    ("Or", [MASK, ~MASK], {}),
    ("Not", [MASK], {}),
    ("Where", [MASK, A, B], {}),
    ("Cast", [FLOATS], {"to": onnx.TensorProto.INT64}),
    ("Gather", [X, np.array([2, -1], I)], {"axis": 1}),
    ("Gather", [A, np.array(1, I)], {}),
    ("Concat", [A, B], {"axis": 0}),
    (
        "Slice",
        [X, np.array([3, 0], I), np.array([-99, 2], I), np.array([2, 1], I), np.array([-2, 1], I)],
        {},
    ),
    ("Slice", [A, np.array([-2], I), np.array([2**31], I)], {}),
    ("Squeeze", [X[:1], np.array([0], I)], {}),
    ("Squeeze", [X[:1, :1]], {}),
    ("Unsqueeze", [A, np.array([0, 2], I)], {}),
    ("Reshape", [X, np.array([0, -1, 2], I)], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Transpose", [X], {"perm": [2, 0, 1]}),
    ("Transpose", [X], {}),
    ("ConstantOfShape", [np.array([2, 3], I)], {}),
    ("ConstantOfShape", [np.array([2], I)], {"value": onnx.numpy_helper.from_array(A[:1])}),
    ("Range", [np.array(1, I), np.array(9, I), np.array(3, I)], {}),
    ("Expand", [A, np.array([2, 1], I)], {}),
    ("Tile", [A, np.array([2], I)], {}),
    ("ReduceProd", [X, np.array([1], I)], {"keepdims": 0}),
    ("ReduceSum", [X, np.array([0, 2], I)], {}),
    ("ReduceSum", [X], {"noop_with_empty_axes": 1}),
    ("ReduceMax", [X, np.array([0], I)], {"keepdims": 0}),
    ("ReduceMin", [X], {"keepdims": 0}),
    ("Shape", [X], {"start": 1}),
    ("Size", [X], {}),
]


@pytest.mark.parametrize(("op_type", "inputs", "attributes"), CASES)
def test_folds_as_the_cpu_provider(
    op_type: str, inputs: list[Any], attributes: dict[str, Any]
) -> None:
    arrays = [np.asarray(one) for one in inputs]
    node = node_of(op_type, len(arrays), **attributes)
    for own, want in zip(fold(node, arrays), on_cpu(node, arrays), strict=True):
        assert own.dtype == want.dtype
        np.testing.assert_array_equal(own, want)


def test_split_folds_as_the_cpu_provider() -> None:
    for arrays, attributes in (([X, np.array([1, 2], I)], {"axis": 1}), ([A], {"num_outputs": 2})):
        node = node_of("Split", len(arrays), 2, **attributes)
        for own, want in zip(fold(node, arrays), on_cpu(node, arrays), strict=True):
            np.testing.assert_array_equal(own, want)


def test_every_operator_that_the_partitioner_counts_on_is_tested_and_folds() -> None:
    assert shape_arithmetic.FOLDABLE | shape_arithmetic.SHAPE_READERS <= FOLDABLE
    assert {op_type for op_type, _, _ in CASES} | {"Split"} == FOLDABLE


def test_shape_of_a_value_that_is_not_known() -> None:
    np.testing.assert_array_equal(fold_shape(node_of("Shape", 1, end=-1), (2, 3, 4)), [2, 3])


def test_errors_name_the_node() -> None:
    with pytest.raises(CompileError, match=r"node 'Reshape\(o0\)'.*cannot reshape"):
        fold(node_of("Reshape", 2), [A, np.array([2, 2], I)])
    with pytest.raises(CompileError, match="division by zero"):
        fold(node_of("Div", 2), [A, A * 0])
    with pytest.raises(CompileError, match="Conv does not fold"):
        fold(node_of("Conv", 2), [A, A])

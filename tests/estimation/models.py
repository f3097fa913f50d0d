"""Float models for the tests of estimates."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def network(
    shape: Sequence[int | str] = (1, 3, 32, 32),
    dtype: int = TensorProto.FLOAT,
    *,
    opset: int = OPSET,
    channels: int = 32,
) -> onnx.ModelProto:
    """Two convolutions, BatchNormalization, pooling, and a classifier behind a Reshape."""
    random = np.random.default_rng(0)
    kind = helper.tensor_dtype_to_np_dtype(dtype)

    def constant(name: str, *dims: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.uniform(0.1, 1, dims).astype(kind), name)

    constants = [
        constant("w0", channels, 3, 3, 3),
        constant("w1", 2 * channels, channels, 3, 3),
        constant("w2", 2 * channels, 10),
        *(constant(f"bn{i}", 2 * channels) for i in range(4)),
        numpy_helper.from_array(np.array([1 if shape[0] == 1 else 0, -1]), "flat"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], "conv0", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"], "relu0"),
        helper.make_node("Conv", ["b", "w1"], ["c"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *(f"bn{i}" for i in range(4))], ["d"], "bn"),
        helper.make_node("Relu", ["d"], ["e"], "relu1"),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], "pool"),
        helper.make_node("Reshape", ["f", "flat"], ["g"], "flatten"),
        helper.make_node("MatMul", ["g", "w2"], ["y"], "classifier"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, [shape[0], 10])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

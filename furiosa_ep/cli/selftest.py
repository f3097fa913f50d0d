"""A model small enough to build anywhere, with a convolution to quantize and to run."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper


def tiny_model() -> onnx.ModelProto:
    """A QDQ model of one convolution: 1x3x8x8 floats to 1x4x8x8 floats."""
    random = np.random.default_rng(0)
    constants: dict[str, npt.NDArray[Any]] = {
        "scale": np.array(0.02, np.float32),
        "zero": np.array(128, np.uint8),
        "weight": random.integers(-127, 128, (4, 3, 3, 3), np.int8, endpoint=False),
        "weight_scale": np.array(0.01, np.float32),
        "weight_zero": np.array(0, np.int8),
    }
    parameters = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *parameters], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", *parameters], ["x_dq"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w_dq"]),
        helper.make_node("Conv", ["x_dq", "w_dq"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["conv", *parameters], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", *parameters], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "self_test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

"""Small float models for the tests of the provider."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str] | None


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Dims],
    outputs: Mapping[str, Dims],
    constants: dict[str, npt.NDArray[np.generic]] | None = None,
    **options: object,
) -> bytes:
    """A serialized float32 model."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, **options)
    return bytes(made.SerializeToString())


def chain(shape: Dims = (2, 3)) -> bytes:
    """y = -(x + w), all of which the fake driver takes; w is [[1, 2, 3], [1, 2, 3]]."""
    return model(
        [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Neg", ["a"], ["y"])],
        {"x": shape},
        {"y": shape},
        {"w": np.array([[1, 2, 3]], np.float32)},
    )


def mixed(shape: Dims = (2, 3)) -> bytes:
    """y = floor(-x), of which the fake driver leaves Floor to the CPU."""
    return model(
        [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Floor", ["a"], ["y"])],
        {"x": shape},
        {"y": shape},
    )

"""Networks of any number of quantized nodes, to see how time grows with it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Quantized:
    """Collects a network of quantized operators on uint8 [1, 8, 4, 4], each with its own scale."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._scales: dict[str, str] = {"x": self._constant(np.float32(0.02))}
        self._zero = self._constant(np.uint8(128))
        self._random = np.random.default_rng(0)

    def add(self, kind: str, *sources: str) -> str:
        """A quantized operator; returns its output."""
        name = f"v{len(self._scales)}"
        inputs = [self._dequantized(source) for source in sources]
        attributes: dict[str, int] = {}
        if kind == "Conv":
            weights = self._random.integers(-99, 99, (8, 8, 1, 1)).astype(np.int8)
            scales = [self._constant(np.float32(0.01)), self._constant(np.int8(0))]
            inputs.append(self._node("DequantizeLinear", [self._constant(weights), *scales]))
        if kind == "Concat":
            attributes["axis"] = 1
        result = self._node(kind, inputs, **attributes)
        scale = self._constant(np.float32(0.02 + 1e-6 * len(self._scales)))
        self.nodes.append(helper.make_node("QuantizeLinear", [result, scale, self._zero], [name]))
        self._scales[name] = scale
        return name

    def finish(self, output: str, channels: int = 8) -> bytes:
        """The model."""
        x, y = (
            helper.make_tensor_value_info(name, TensorProto.UINT8, [1, depth, 4, 4])
            for name, depth in (("x", 8), (output, channels))
        )
        graph = helper.make_graph(self.nodes, "synthetic", [x], [y], self._constants)
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        data: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
        return data

    def _constant(self, value: np.ndarray | np.generic) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], **attributes: int) -> str:
        output = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))  # type: ignore[arg-type]
        return output

    def _dequantized(self, value: str) -> str:
        return self._node("DequantizeLinear", [value, self._scales[value], self._zero])


def conv_chain(nodes: int) -> bytes:
    """Convolutions one after the other."""
    network, value = Quantized(), "x"
    while len(network.nodes) < nodes:
        value = network.add("Conv", value)
    return network.finish(value)


def add_chain(nodes: int) -> bytes:
    """Additions of the last two values."""
    network, value, before = Quantized(), "x", "x"
    while len(network.nodes) < nodes:
        value, before = network.add("Add", value, before), value
    return network.finish(value)


def nested_skips(nodes: int) -> bytes:
    """Values that are all kept, and added again in the opposite order."""
    network, values = Quantized(), ["x"]
    while len(network.nodes) < nodes * 3 // 7:
        values.append(network.add("Conv", values[-1]) if len(values) % 2 else
                      network.add("Sigmoid", values[-1]))  # fmt: skip
    value = values.pop()
    while values:
        value = network.add("Add", value, values.pop())
    return network.finish(value)


def wide(nodes: int) -> bytes:
    """One value read by many operators, whose results are joined."""
    network, values = Quantized(), []
    while len(network.nodes) < nodes * 4 // 5:
        values.append(network.add("Sigmoid", "x"))
    return network.finish(network.add("Concat", *values), 8 * len(values))


NETWORKS = (conv_chain, add_chain, nested_skips, wide)

"""Build a convolutional network layer by layer as an ONNX model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class Network:
    """An ONNX graph that grows by one layer a call; values are known by their names.

    Weights are drawn from He's normal distribution, so that activations keep their range however
    deep the network is.
    """

    def __init__(self, name: str, input_shape: Sequence[int], seed: int = 0) -> None:
        self.input = "images"
        self._name = name
        self._input_shape = list(input_shape)
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._channels = {self.input: int(input_shape[1])}

    def channels(self, x: str) -> int:
        """The channels (dimension 1) of the image `x`."""
        return self._channels[x]

    def constant(self, array: npt.NDArray[Any]) -> str:
        """Add an initializer."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, op_type: str, *inputs: str, channels: int = 0, **attributes: Any) -> str:
        """Add a node of one output, of `channels` channels or as many as its first input."""
        return self.ops(op_type, *inputs, channels=[channels], **attributes)[0]

    def ops(
        self, op_type: str, *inputs: str, channels: Sequence[int], **attributes: Any
    ) -> list[str]:
        """Add a node with one output for each entry of `channels`."""
        name = f"{op_type.lower()}_{len(self._nodes)}"
        outputs = [f"{name}_{i}" for i in range(len(channels))]
        self._nodes.append(helper.make_node(op_type, inputs, outputs, name, **attributes))
        for output, count in zip(outputs, channels, strict=True):
            self._channels[output] = count or self._channels.get(inputs[0], 0)
        return outputs

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        gain: float = 1.0,
    ) -> str:
        """A square convolution with bias, padded so that stride 1 keeps the size."""
        fan_in = self.channels(x) // groups
        shape = (channels, fan_in, kernel, kernel)
        deviation = gain * np.sqrt(2.0 / (fan_in * kernel * kernel))
        weight = self._random.normal(0, deviation, shape).astype(np.float32)
        bias = self._random.normal(0, 0.05, channels).astype(np.float32)
        return self.op(
            "Conv",
            x,
            self.constant(weight),
            self.constant(bias),
            channels=channels,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def linear(self, x: str, features: int, outputs: int) -> str:
        """A fully connected layer on rows of `features` values."""
        shape = (outputs, features)
        weight = self._random.normal(0, np.sqrt(1.0 / features), shape).astype(np.float32)
        bias = self._random.normal(0, 0.05, outputs).astype(np.float32)
        return self.op("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.op("Relu", x)

    def relu6(self, x: str) -> str:
        """Limit x to 0 .. 6."""
        limits = (self.constant(np.array(value, np.float32)) for value in (0, 6))
        return self.op("Clip", x, *limits)

    def silu(self, x: str) -> str:
        """Multiply x by sigmoid(x)."""
        return self.op("Mul", x, self.op("Sigmoid", x))

    def max_pool(self, x: str, kernel: int, stride: int) -> str:
        """Max pooling, padded so that stride 1 keeps the size."""
        return self.op(
            "MaxPool",
            x,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )

    def concat(self, *values: str) -> str:
        """The images side by side in the channels."""
        channels = sum(self.channels(value) for value in values)
        return self.op("Concat", *values, channels=channels, axis=1)

    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        """Dimension 1 of `x` cut into pieces of these sizes."""
        lengths = self.constant(np.array(sizes, np.int64))
        return self.ops("Split", x, lengths, channels=sizes, axis=1)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """`x` in another shape; 0 keeps a dimension, -1 is what is left."""
        return self.op("Reshape", x, self.constant(np.array(shape, np.int64)))

    def build(self, output: str, output_shape: Sequence[int]) -> onnx.ModelProto:
        """The checked model that computes `output`."""
        float32 = TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info(self.input, float32, self._input_shape)],
            [helper.make_tensor_value_info(output, float32, list(output_shape))],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model

"""Build a convolutional network layer by layer as an ONNX model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
CHANNEL_SPREAD = 0.3
"""Standard deviation of the logarithm of a filter's size; trained filters differ likewise."""


class Network:
    """An ONNX graph that grows by one layer a call; values are known by their names.

    Weights are drawn from He's normal distribution, so that activations keep their range however
    deep the network is. The size of a filter varies from one output channel to the next.
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

    def scalar(self, value: float) -> str:
        """Add a float initializer without dimensions."""
        return self.constant(np.array(value, np.float32))

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
        padding: int | None = None,
    ) -> str:
        """A square convolution with bias, by default padded so that stride 1 keeps the size.

        An even kernel, which cannot keep it, is padded for its stride of 2 to halve the size.
        """
        fan_in = self.channels(x) // groups
        weight = self._filters((channels, fan_in, kernel, kernel), gain * np.sqrt(2.0))
        attributes = square(kernel, stride, groups)
        if padding is not None:
            attributes["pads"] = [padding] * 4
        constants = self.constant(weight), self._bias(channels)
        return self.op("Conv", x, *constants, channels=channels, **attributes)

    def linear(self, x: str, features: int, outputs: int) -> str:
        """A fully connected layer on rows of `features` values."""
        weight = self._filters((outputs, features), 1.0)
        return self.op("Gemm", x, self.constant(weight), self._bias(outputs), transB=1)

    def _filters(self, shape: Sequence[int], gain: float) -> npt.NDArray[np.float32]:
        """Weights that multiply the root mean square of their inputs by `gain` on average."""
        sizes = np.exp(self._random.normal(-(CHANNEL_SPREAD**2), CHANNEL_SPREAD, shape[0]))
        deviations = (sizes * gain / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        weight = self._random.standard_normal(shape, np.float32)
        weight *= deviations.reshape(-1, *[1] * (len(shape) - 1))
        return weight

    def _bias(self, channels: int) -> str:
        return self.constant(self._random.normal(0, 0.05, channels).astype(np.float32))

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.op("Relu", x)

    def relu6(self, x: str) -> str:
        """Limit x to 0 .. 6."""
        return self.op("Clip", x, self.scalar(0), self.scalar(6))

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

    def upsample(self, x: str) -> str:
        """The image at twice its height and width, every pixel four times."""
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.op(
            "Resize",
            x,
            "",
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def concat(self, *values: str) -> str:
        """The images side by side in the channels."""
        channels = sum(self.channels(value) for value in values)
        return self.op("Concat", *values, channels=channels, axis=1)

    def split(self, x: str, sizes: Sequence[int], axis: int = 1) -> list[str]:
        """A dimension of `x` cut into pieces of these sizes."""
        lengths = self.constant(np.array(sizes, np.int64))
        channels = sizes if axis == 1 else [self.channels(x)] * len(sizes)
        return self.ops("Split", x, lengths, channels=channels, axis=axis)

    def slice(self, x: str, starts: Sequence[int], axes: Sequence[int], step: int) -> str:
        """Every `step`-th element of the dimensions `axes` of `x`, from `starts` to their end."""
        ends, steps = [np.iinfo(np.int64).max] * len(axes), [step] * len(axes)
        lists = (starts, ends, axes, steps)
        return self.op("Slice", x, *(self.constant(np.array(one, np.int64)) for one in lists))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """`x` in another shape; 0 keeps a dimension, -1 is what is left."""
        return self.op("Reshape", x, self.constant(np.array(shape, np.int64)))

    def classify(self, x: str, classes: int) -> str:
        """The mean of every channel of the image `x`, fully connected to the classes."""
        rows = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        return self.linear(rows, self.channels(x), classes)

    def build(self, *outputs: str) -> onnx.ModelProto:
        """The checked model that computes `outputs`; every value in it has a static shape."""
        images = helper.make_tensor_value_info(self.input, TensorProto.FLOAT, self._input_shape)
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [images],
            [onnx.ValueInfoProto(name=output) for output in outputs],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(model)
        return model


def square(kernel: int, stride: int, groups: int) -> dict[str, Any]:
    """The attributes of a square convolution, padded as `Network.conv` says."""
    return {
        "kernel_shape": [kernel, kernel],
        "strides": [stride, stride],
        "pads": [(kernel - 1) // 2] * 4,
        "group": groups,
    }

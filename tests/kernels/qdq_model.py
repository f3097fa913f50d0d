"""One operator between DequantizeLinear and QuantizeLinear, run by ONNX Runtime's CPU provider."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Quantization:
    """Scale and zero point of a uint8 tensor, or of an int8 one where `signed`."""

    scale: np.float32
    zero_point: int
    signed: bool = False

    @property
    def stored_zero_point(self) -> int:
        """The zero point in the domain of the device, where int8 has its top bit flipped."""
        return self.zero_point + 128 * self.signed

    def parameters(self, name: str) -> dict[str, Any]:
        """The attributes `<name>_scale` and `<name>_zero_point` of an opcode."""
        return {f"{name}_scale": float(self.scale), f"{name}_zero_point": self.stored_zero_point}


def random_quantization(
    rng: np.random.Generator, like: Quantization | None = None, signed: bool = False
) -> Quantization:
    """Random parameters; near those of `like`, so that not everything saturates."""
    scale = np.float32(10 ** rng.uniform(-3, 1))
    if like is not None:
        scale = like.scale * np.float32(rng.choice(np.array([1, 2, 0.5, rng.uniform(0.4, 2)])))
    zero_point = int(rng.choice(np.array([0, 255, 128, rng.integers(256)])))
    return Quantization(scale, zero_point - 128 * signed, signed)


@dataclass(frozen=True)
class QuantizedConstant:
    """An int8 or int32 constant that the model dequantises, with scales along an axis."""

    values: Array
    scales: Array
    axis: int

    @property
    def floats(self) -> Array:
        """What DequantizeLinear makes of it."""
        dims = [1] * self.values.ndim
        dims[self.axis] = -1
        return self.values.astype(np.float32) * self.scales.reshape(dims)


@dataclass
class QdqModel:
    """Builds and runs DequantizeLinear -> `operator` -> QuantizeLinear."""

    operator: str
    x: Quantization
    y: Quantization
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: list[Array | QuantizedConstant | None] = field(default_factory=list)
    """The other inputs."""
    opset: int = 19

    def run(self, x: Array, threads: int = 1) -> Array:
        """The result for stored bytes x[...], as stored bytes."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        session = ort.InferenceSession(
            self._model(x.shape), options, providers=["CPUExecutionProvider"]
        )
        flip = np.uint8(128 * self.x.signed)
        value = (x ^ flip).view(np.int8) if self.x.signed else x
        (result,) = session.run(None, {"x": value})
        return np.asarray(result).view(np.uint8) ^ flip

    def _model(self, dims: tuple[int, ...]) -> bytes:
        integer = np.int8 if self.x.signed else np.uint8
        initializers = []
        for name, one in (("x", self.x), ("y", self.y)):
            initializers.append(numpy_helper.from_array(np.array(one.scale), f"{name}_scale"))
            zero_point = np.array(one.zero_point, integer)
            initializers.append(numpy_helper.from_array(zero_point, f"{name}_zero_point"))
        names = ["dequantized"]
        nodes = [helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero_point"], names)]
        for index, constant in enumerate(self.constants):
            name = f"constant_{index}"
            names.append("" if constant is None else name)
            if isinstance(constant, QuantizedConstant):
                q, scale = f"{name}_q", f"{name}_scale"
                initializers.append(numpy_helper.from_array(constant.values, q))
                initializers.append(numpy_helper.from_array(constant.scales, scale))
                nodes.append(
                    helper.make_node("DequantizeLinear", [q, scale], [name], axis=constant.axis)
                )
            elif constant is not None:
                initializers.append(numpy_helper.from_array(constant, name))
        nodes += [
            helper.make_node(self.operator, names, ["value"], **self.attributes),
            helper.make_node("QuantizeLinear", ["value", "y_scale", "y_zero_point"], ["y"]),
        ]
        dtype = TensorProto.INT8 if self.x.signed else TensorProto.UINT8
        graph = helper.make_graph(
            nodes,
            self.operator,
            [helper.make_tensor_value_info("x", dtype, dims)],
            [helper.make_tensor_value_info("y", dtype, None)],
            initializers,
        )
        opset = [helper.make_opsetid("", self.opset)]
        model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=9)
        return bytes(model.SerializeToString())


def random_bytes(rng: np.random.Generator, dims: tuple[int, ...]) -> Array:
    """Random bytes; sometimes few different ones, so that ties and equal values occur."""
    top = int(rng.choice([256, 256, 16]))
    return rng.integers(0, top, dims).astype(np.uint8)


def channels_last(x: Array) -> Array:
    """[N, C, H, W] as [N, H, W, C]."""
    return x.transpose(0, 2, 3, 1)


def channels_first(y: Array) -> Array:
    """[N, H, W, C] as [N, C, H, W]."""
    return y.transpose(0, 3, 1, 2)

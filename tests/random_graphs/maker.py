"""A random model under construction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = (13, 15, 17, 19, 21)
EXTREME_SCALES = (1e-12, 1e-6, 1e-3, 1e3, 1e6)


@dataclass(frozen=True)
class Quantized:
    """An 8-bit value of the model under construction."""

    name: str
    shape: tuple[int, ...]
    scale: np.float32
    zero_point: int
    dtype: type[np.uint8] | type[np.int8]

    @property
    def amplitude(self) -> float:
        """Roughly how large the real values are."""
        return float(self.scale) * 64


class ModelMaker:
    """Builds a model whose operators stand between DequantizeLinear and QuantizeLinear."""

    def __init__(self, seed: int, *, signed: bool | None = False) -> None:
        self.random = np.random.default_rng(seed)
        self.signed = signed
        self.opset = int(self.random.choice(OPSETS))
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.feeds: dict[str, npt.NDArray[Any]] = {}
        self.values: list[Quantized] = []
        self.used: set[str] = set()
        self._names = 0

    def name(self, stem: str) -> str:
        self._names += 1
        return f"{stem}_{self._names}"

    def constant(self, array: npt.ArrayLike, stem: str = "c") -> str:
        name = self.name(stem)
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(
        self, op_type: str, inputs: list[str], outputs: int = 1, **attributes: Any
    ) -> list[str]:
        names = [self.name(op_type.lower()) for _ in range(outputs)]
        domain = attributes.pop("domain", "")
        self.nodes.append(
            helper.make_node(
                op_type, inputs, names, name=self.name(op_type), domain=domain, **attributes
            )
        )
        return names

    # -- quantization ---------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """A uniform integer from low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def activation_dtype(self) -> type[np.uint8] | type[np.int8]:
        signed = self.chance(0.5) if self.signed is None else self.signed
        return np.int8 if signed else np.uint8

    def quantization(self, amplitude: float) -> tuple[np.float32, int, type]:
        dtype = self.activation_dtype()
        scale = amplitude / 64 * float(np.exp(self.random.normal(0, 0.5)))
        if self.chance(0.02):
            scale = float(self.random.choice(EXTREME_SCALES))
        if self.chance(0.2):
            scale = 2.0 ** round(np.log2(max(scale, 1e-30)))  # ties in rounding are likely then
        scale = float(np.clip(scale, 1e-30, 1e30))
        info = np.iinfo(dtype)
        middle = (info.min + info.max + 1) // 2
        low, high = info.min, info.max
        choices = [middle, middle, low, high, self.integer(low, high), self.integer(low, high)]
        zero_point = int(self.random.choice(choices))
        return np.float32(scale), zero_point, dtype

    def quantize(self, value: str, shape: tuple[int, ...], amplitude: float) -> Quantized:
        scale, zero_point, dtype = self.quantization(amplitude)
        return self.quantize_as(value, shape, scale, zero_point, dtype)

    def quantize_as(
        self, value: str, shape: tuple[int, ...], scale: np.float32, zero_point: int, dtype: type
    ) -> Quantized:
        (output,) = self.node(
            "QuantizeLinear",
            [value, self.constant(np.float32(scale), "s"), self.constant(dtype(zero_point), "z")],
        )
        result = Quantized(output, shape, np.float32(scale), zero_point, dtype)
        self.values.append(result)
        return result

    def dequantize(self, value: Quantized) -> str:
        self.used.add(value.name)
        scale, zero_point = (
            self.constant(value.scale, "s"),
            self.constant(value.dtype(value.zero_point), "z"),
        )
        return self.node("DequantizeLinear", [value.name, scale, zero_point])[0]

    def weights(
        self, shape: tuple[int, ...], fan_in: int, axis: int | None
    ) -> tuple[str, npt.NDArray[Any], float]:
        """A dequantized int8 weight; its name, its scales and its amplitude."""
        amplitude = 1.0 / np.sqrt(max(fan_in, 1))
        per_channel = axis is not None and self.chance(0.7)
        count = shape[axis] if per_channel and axis is not None else 1
        scales = (amplitude / 64 * np.exp(self.random.normal(0, 0.4, count))).astype(np.float32)
        low = -128 if self.chance(0.2) else -127
        values = self.random.integers(low, 128, shape).astype(np.int8)
        zero: npt.NDArray[np.int8] = np.zeros(count, np.int8)
        if not per_channel:
            scales, zero = scales.reshape(()), zero.reshape(())
        attributes: dict[str, Any] = {"axis": axis} if per_channel else {}
        (name,) = self.node(
            "DequantizeLinear",
            [self.constant(values, "w"), self.constant(scales, "s"), self.constant(zero, "z")],
            **attributes,
        )
        return name, scales, amplitude

    def bias(self, count: int, x: Quantized, scales: npt.NDArray[Any]) -> str:
        per_channel = scales.ndim == 1
        bias_scale = (x.scale * scales).astype(np.float32)
        values = self.random.integers(-3000, 3000, count).astype(np.int32)
        zero = np.zeros(bias_scale.shape, np.int32)
        attributes = {"axis": 0} if per_channel else {}
        return self.node(
            "DequantizeLinear",
            [self.constant(values, "b"), self.constant(bias_scale, "s"), self.constant(zero, "z")],
            **attributes,
        )[0]

    # -- choice of inputs -----------------------------------------------------------------------

    def any_value(self, accept: Callable[[Quantized], bool] = lambda _: True) -> Quantized | None:
        candidates = [value for value in self.values if accept(value)]
        if not candidates:
            return None
        recent = candidates[-4:] if self.chance(0.7) else candidates
        return recent[self.integer(0, len(recent) - 1)]

    def image(self) -> Quantized | None:
        return self.any_value(lambda v: len(v.shape) == 4)

    def new_input(self, shape: tuple[int, ...]) -> Quantized:
        name = self.name("input")
        if self.chance(0.2):
            dtype = self.activation_dtype()
            info = np.iinfo(dtype)
            onnx_dtype = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            self.inputs.append(helper.make_tensor_value_info(name, onnx_dtype, shape))
            self.feeds[name] = self.random.integers(info.min, info.max + 1, shape).astype(dtype)
            scale, zero_point, _ = self.quantization(1.0)
            zero_point = int(np.clip(zero_point, info.min, info.max))
            value = Quantized(name, shape, scale, zero_point, dtype)
            self.values.append(value)
            return value
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.feeds[name] = self.random.normal(0, 1, shape).astype(np.float32)
        return self.quantize(name, shape, 2.0)

    def random_shape(self) -> tuple[int, ...]:
        """The shape of an image, or of something of rank 1 to 5."""
        if self.chance(0.75):
            channels = int(self.random.choice([1, 3, 4, 5, 8, 16, 17, 32, 48, 65]))
            batch = int(self.random.choice([1, 1, 2]))
            return (batch, channels, self.integer(1, 14), self.integer(1, 14))
        return tuple(self.integer(1, 9) for _ in range(self.integer(1, 5)))

    def finish(self) -> onnx.ModelProto:
        outputs = []
        for value in [v for v in self.values if v.name not in self.used]:
            name, dtype = value.name, helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
            if self.chance(0.7):
                name, dtype = self.dequantize(value), TensorProto.FLOAT
            outputs.append(helper.make_tensor_value_info(name, dtype, value.shape))
        graph = helper.make_graph(self.nodes, "random", self.inputs, outputs, self.initializers)
        model = helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid("", self.opset),
                helper.make_opsetid("com.microsoft", 1),
            ],
            ir_version=10,
        )
        onnx.checker.check_model(model)
        return model

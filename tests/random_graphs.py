"""Random QDQ models, each a pure function of its seed, and a command that runs many of them.

    python -m tests.random_graphs --first 0 --count 10000

prints every model on which FuriosaProvider and CPUExecutionProvider differ or one of them fails.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
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
    """Builds one random model: every operator stands between DequantizeLinear and QuantizeLinear."""

    def __init__(self, seed: int, *, signed: bool | None = False) -> None:
        self.random = np.random.default_rng(seed)
        self.signed = signed
        self.opset = int(self.random.choice(OPSETS))
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.feeds: dict[str, np.ndarray] = {}
        self.values: list[Quantized] = []
        self.used: set[str] = set()
        self._names = 0

    def name(self, stem: str) -> str:
        self._names += 1
        return f"{stem}_{self._names}"

    def constant(self, array: np.ndarray, stem: str = "c") -> str:
        name = self.name(stem)
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(
        self, op_type: str, inputs: list[str], outputs: int = 1, **attributes: object
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
    ) -> tuple[str, np.ndarray, float]:
        """A dequantized int8 weight; its name, its scales and its amplitude."""
        amplitude = 1.0 / np.sqrt(max(fan_in, 1))
        per_channel = axis is not None and self.chance(0.7)
        count = shape[axis] if per_channel and axis is not None else 1
        scales = (amplitude / 64 * np.exp(self.random.normal(0, 0.4, count))).astype(np.float32)
        low = -128 if self.chance(0.2) else -127
        values = self.random.integers(low, 128, shape).astype(np.int8)
        zero = np.zeros(count, np.int8)
        if not per_channel:
            scales, zero = scales.reshape(()), zero.reshape(())
        attributes = {"axis": axis} if per_channel else {}
        (name,) = self.node(
            "DequantizeLinear",
            [self.constant(values, "w"), self.constant(scales, "s"), self.constant(zero, "z")],
            **attributes,
        )
        return name, scales, amplitude

    def bias(self, count: int, x: Quantized, scales: np.ndarray) -> str:
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


# -- operators: each takes the maker, adds nodes and quantized results, and returns whether it fitted


def conv(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) in (3, 4) and min(v.shape) > 0)
    if x is None:
        return False
    spatial = x.shape[2:]
    channels = x.shape[1]
    groups = [g for g in range(1, channels + 1) if channels % g == 0]
    group = channels if m.chance(0.3) else int(m.random.choice(groups)) if m.chance(0.3) else 1
    outputs = group * m.integer(1, max(1, int(m.random.choice([2, 8, 24, 70])) // group))
    kernel = [m.integer(1, min(5, 2 * size)) for size in spatial]
    if m.chance(0.4):
        kernel = [1] * len(spatial)
    strides = [m.integer(1, 2) for _ in spatial]
    dilations = [m.integer(1, 2) if m.chance(0.2) else 1 for _ in spatial]
    attributes: dict[str, object] = {"group": group, "strides": strides, "dilations": dilations}
    if m.chance(0.15) and dilations == [1] * len(spatial):
        attributes["auto_pad"] = str(m.random.choice(["SAME_UPPER", "SAME_LOWER"]))
        shape = [-(-size // s) for size, s in zip(spatial, strides, strict=True)]
    else:
        pads = [m.integer(0, k - 1) if k > 1 else 0 for k in kernel * 2]
        attributes["pads"] = pads
        n = len(spatial)
        shape = [
            (size + pads[i] + pads[i + n] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
            for i, size in enumerate(spatial)
        ]
    if min(shape) < 1:
        return False
    per_group = channels // group
    weight_shape = (outputs, per_group, *kernel)
    fan_in = per_group * int(np.prod(kernel))
    weight, scales, amplitude = m.weights(weight_shape, fan_in, 0)
    inputs = [m.dequantize(x), weight]
    if m.chance(0.7):
        inputs.append(m.bias(outputs, x, scales))
    (y,) = m.node("Conv", inputs, kernel_shape=kernel, **attributes)
    m.quantize(y, (x.shape[0], outputs, *shape), x.amplitude * amplitude * np.sqrt(fan_in))
    return True


def conv_transpose(m: ModelMaker) -> bool:
    x = m.image()
    if x is None or x.shape[2] * x.shape[3] > 200:
        return False
    outputs = m.integer(1, 9)
    kernel = [m.integer(1, 3), m.integer(1, 3)]
    strides = [m.integer(1, 3), m.integer(1, 3)]
    if m.chance(0.5):
        kernel = strides = [2, 2]
    fan_in = x.shape[1]
    weight, scales, amplitude = m.weights((x.shape[1], outputs, *kernel), fan_in, None)
    inputs = [m.dequantize(x), weight]
    if m.chance(0.5):
        inputs.append(m.bias(outputs, x, scales))
    (y,) = m.node("ConvTranspose", inputs, kernel_shape=kernel, strides=strides)
    shape = [(s - 1) * t + k for s, t, k in zip(x.shape[2:], strides, kernel, strict=True)]
    m.quantize(y, (x.shape[0], outputs, *shape), x.amplitude * amplitude * np.sqrt(fan_in))
    return True


def gemm(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) == 2)
    if x is None:
        return False
    k, n = x.shape[1], m.integer(1, 40)
    transposed = m.chance(0.5)
    shape = (n, k) if transposed else (k, n)
    weight, scales, amplitude = m.weights(shape, k, 0 if transposed else 1)
    inputs = [m.dequantize(x), weight]
    if m.chance(0.7):
        inputs.append(m.bias(n, x, scales))
    (y,) = m.node("Gemm", inputs, transB=int(transposed))
    m.quantize(y, (x.shape[0], n), x.amplitude * amplitude * np.sqrt(k))
    return True


def matmul(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 2)
    if x is None:
        return False
    k, n = x.shape[-1], m.integer(1, 20)
    if m.chance(0.5):
        weight, _, amplitude = m.weights((k, n), k, 1 if m.chance(0.5) else None)
        (y,) = m.node("MatMul", [m.dequantize(x), weight])
        m.quantize(y, (*x.shape[:-1], n), x.amplitude * amplitude * np.sqrt(k))
        return True
    other = m.any_value(
        lambda v: len(v.shape) == len(x.shape) and v.shape[-2] == k and v.shape[:-2] == x.shape[:-2]
    )
    if other is None:
        perm = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
        (t,) = m.node("Transpose", [m.dequantize(x)], perm=perm)
        shape = tuple(x.shape[p] for p in perm)
        other = m.quantize_as(t, shape, x.scale, x.zero_point, x.dtype)
    (y,) = m.node("MatMul", [m.dequantize(x), m.dequantize(other)])
    m.quantize(y, (*x.shape[:-1], other.shape[-1]), x.amplitude * other.amplitude * np.sqrt(k))
    return True


def _broadcastable(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(x == y or 1 in (x, y) for x, y in zip(reversed(a), reversed(b), strict=False))


def binary(m: ModelMaker) -> bool:
    x = m.any_value()
    if x is None:
        return False
    op = str(m.random.choice(["Add", "Add", "Mul", "Mul", "Sub", "Div"]))
    other = m.any_value(lambda v: v is not x and _broadcastable(v.shape, x.shape))
    if other is None or m.chance(0.25):
        shape = tuple(s if m.chance(0.5) else 1 for s in x.shape)
        if m.chance(0.3):
            shape = ()
        values = m.random.uniform(0.3, 2, shape).astype(np.float32)
        if m.chance(0.5):
            scale, zero_point, dtype = m.quantization(1.0)
            info = np.iinfo(dtype)
            ints = m.random.integers(info.min, info.max + 1, shape).astype(dtype)
            constant = m.node(
                "DequantizeLinear",
                [m.constant(ints), m.constant(np.float32(scale)), m.constant(dtype(zero_point))],
            )[0]
        else:
            constant = m.constant(values)
        operands = [m.dequantize(x), constant]
        if m.chance(0.3):
            operands.reverse()
        (y,) = m.node(op, operands)
        m.quantize(y, np.broadcast_shapes(x.shape, shape), x.amplitude * 1.5)
        return True
    operands = [m.dequantize(x), m.dequantize(other)]
    if m.chance(0.5):
        operands.reverse()
    (y,) = m.node(op, operands)
    amplitude = {
        "Add": x.amplitude + other.amplitude,
        "Sub": x.amplitude + other.amplitude,
        "Mul": x.amplitude * other.amplitude,
        "Div": x.amplitude / max(other.amplitude, 1e-30) * 2,
    }[op]
    m.quantize(y, np.broadcast_shapes(x.shape, other.shape), amplitude)
    return True


UNARY: dict[str, dict[str, object]] = {
    "Relu": {},
    "LeakyRelu": {"alpha": 0.1},
    "Elu": {},
    "Sigmoid": {},
    "HardSigmoid": {},
    "HardSwish": {},
    "Mish": {},
    "Tanh": {},
    "Softplus": {},
    "Softsign": {},
    "Exp": {},
    "Erf": {},
    "Abs": {},
    "Neg": {},
    "Sqrt": {},
    "Log": {},
    "Reciprocal": {},
    "Floor": {},
    "Identity": {},
}
SINCE = {"HardSwish": 14, "Mish": 18, "Gelu": 20}


def unary(m: ModelMaker) -> bool:
    x = m.any_value()
    if x is None:
        return False
    op = str(m.random.choice(list(UNARY)))
    if SINCE.get(op, 0) > m.opset:
        return False
    (y,) = m.node(op, [m.dequantize(x)], **UNARY[op])
    bounded = op in ("Sigmoid", "HardSigmoid", "Tanh", "Softsign", "Erf")
    m.quantize(y, x.shape, 1.0 if bounded else x.amplitude)
    return True


def clip(m: ModelMaker) -> bool:
    x = m.any_value()
    if x is None:
        return False
    low, high = -x.amplitude * m.random.random(), x.amplitude * m.random.random()
    limits = [m.constant(np.float32(low)), m.constant(np.float32(high))]
    (y,) = m.node("Clip", [m.dequantize(x), *limits])
    m.quantize(y, x.shape, x.amplitude)
    return True


def silu(m: ModelMaker) -> bool:
    """Sigmoid quantized, then multiplied with its own input."""
    x = m.any_value()
    if x is None:
        return False
    (s,) = m.node("Sigmoid", [m.dequantize(x)])
    gate = m.quantize(s, x.shape, 0.5)
    operands = [m.dequantize(x), m.dequantize(gate)]
    if m.chance(0.5):
        operands.reverse()
    (y,) = m.node("Mul", operands)
    m.quantize(y, x.shape, x.amplitude)
    return True


def chain(m: ModelMaker) -> bool:
    """Several elementwise float operators between one 8-bit value and its QuantizeLinear."""
    x = m.any_value()
    if x is None:
        return False
    start = value = m.dequantize(x)
    for _ in range(m.integer(2, 4)):
        op = str(m.random.choice(["Sigmoid", "Tanh", "Relu", "Abs", "mul", "add", "self"]))
        if op == "mul":
            (value,) = m.node("Mul", [value, m.constant(np.float32(m.random.uniform(0.3, 2)))])
        elif op == "add":
            (value,) = m.node("Add", [value, m.constant(np.float32(m.random.uniform(-1, 1)))])
        elif op == "self":
            (value,) = m.node("Mul", [value, start])
        else:
            (value,) = m.node(op, [value])
    m.quantize(value, x.shape, x.amplitude)
    return True


def pool(m: ModelMaker) -> bool:
    x = m.image()
    if x is None or min(x.shape[2:]) < 2:
        return False
    op = str(m.random.choice(["MaxPool", "MaxPool", "AveragePool"]))
    kernel = [m.integer(1, min(3, x.shape[2])), m.integer(1, min(3, x.shape[3]))]
    strides = [m.integer(1, 2), m.integer(1, 2)]
    pads = [m.integer(0, k - 1) if k > 1 else 0 for k in kernel * 2]
    shape = [
        (x.shape[2 + i] + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i in range(2)
    ]
    attributes: dict[str, object] = {}
    if op == "AveragePool":
        attributes["count_include_pad"] = m.integer(0, 1)
    (y,) = m.node(
        op, [m.dequantize(x)], kernel_shape=kernel, strides=strides, pads=pads, **attributes
    )
    out_shape = (*x.shape[:2], *shape)
    if op == "MaxPool" and m.chance(0.6):
        m.quantize_as(y, out_shape, x.scale, x.zero_point, x.dtype)
    else:
        m.quantize(y, out_shape, x.amplitude)
    return True


def global_pool(m: ModelMaker) -> bool:
    x = m.image()
    if x is None:
        return False
    op = "GlobalAveragePool" if m.chance(0.8) else "GlobalMaxPool"
    (y,) = m.node(op, [m.dequantize(x)])
    m.quantize(y, (*x.shape[:2], 1, 1), x.amplitude)
    return True


def reduce(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 2)
    if x is None:
        return False
    op = str(m.random.choice(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2"]))
    rank = len(x.shape)
    count = m.integer(1, rank)
    axes = sorted(int(a) for a in m.random.choice(rank, count, replace=False))
    keepdims = m.integer(0, 1)
    as_input = op == "ReduceSum" or m.opset >= 18
    inputs = [m.dequantize(x)]
    attributes: dict[str, object] = {"keepdims": keepdims}
    if as_input:
        inputs.append(m.constant(np.array(axes, np.int64)))
    else:
        attributes["axes"] = axes
    (y,) = m.node(op, inputs, **attributes)
    shape = tuple(1 if i in axes else s for i, s in enumerate(x.shape) if keepdims or i not in axes)
    n = float(np.prod([x.shape[a] for a in axes]))
    factor = {"ReduceMean": 1, "ReduceSum": np.sqrt(n), "ReduceMax": 1, "ReduceL2": np.sqrt(n)}[op]
    m.quantize(y, shape, x.amplitude * factor)
    return True


def softmax(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 2)
    if x is None:
        return False
    axis = -1 if m.chance(0.6) else m.integer(0, len(x.shape) - 1)
    (y,) = m.node("Softmax", [m.dequantize(x)], axis=axis)
    m.quantize(y, x.shape, 0.25)
    return True


def concat(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 1)
    if x is None:
        return False
    axis = m.integer(0, len(x.shape) - 1)
    fits = [
        v
        for v in m.values
        if len(v.shape) == len(x.shape)
        and all(a == b for i, (a, b) in enumerate(zip(v.shape, x.shape, strict=True)) if i != axis)
        and v.dtype is x.dtype
    ]
    chosen = [x, *(fits[m.integer(0, len(fits) - 1)] for _ in range(m.integer(1, 3)))]
    (y,) = m.node("Concat", [m.dequantize(v) for v in chosen], axis=axis)
    shape = tuple(
        sum(v.shape[axis] for v in chosen) if i == axis else s for i, s in enumerate(x.shape)
    )
    if m.chance(0.4):
        m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    else:
        m.quantize(y, shape, max(v.amplitude for v in chosen))
    return True


def split(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: any(s >= 2 for s in v.shape))
    if x is None:
        return False
    axis = int(m.random.choice([i for i, s in enumerate(x.shape) if s >= 2]))
    first = m.integer(1, x.shape[axis] - 1)
    sizes = [first, x.shape[axis] - first]
    outputs = m.node(
        "Split", [m.dequantize(x), m.constant(np.array(sizes, np.int64))], 2, axis=axis
    )
    for output, size in zip(outputs, sizes, strict=True):
        shape = tuple(size if i == axis else s for i, s in enumerate(x.shape))
        m.quantize_as(output, shape, x.scale, x.zero_point, x.dtype)
    return True


def slice_(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: any(s >= 2 for s in v.shape))
    if x is None:
        return False
    axis = int(m.random.choice([i for i, s in enumerate(x.shape) if s >= 2]))
    size = x.shape[axis]
    start, step = m.integer(0, size - 1), int(m.random.choice([1, 1, 2, -1]))
    end = m.integer(start + 1, size) if step > 0 else -size - 1
    length = len(range(size)[start : (None if end == -size - 1 else end) : step])
    inputs = [np.array([v], np.int64) for v in (start, end, axis, step)]
    (y,) = m.node("Slice", [m.dequantize(x), *(m.constant(v) for v in inputs)])
    shape = tuple(length if i == axis else s for i, s in enumerate(x.shape))
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def pad(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 1)
    if x is None:
        return False
    pads = [m.integer(0, 2) for _ in range(2 * len(x.shape))]
    (y,) = m.node("Pad", [m.dequantize(x), m.constant(np.array(pads, np.int64))])
    n = len(x.shape)
    shape = tuple(s + pads[i] + pads[i + n] for i, s in enumerate(x.shape))
    if np.prod(shape) > 200_000:
        return False
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def reshape(m: ModelMaker) -> bool:
    x = m.any_value()
    if x is None:
        return False
    total = int(np.prod(x.shape))
    if total == 0:
        return False
    first = int(m.random.choice([d for d in range(1, total + 1) if total % d == 0][:20]))
    rest = total // first
    second = int(m.random.choice([d for d in range(1, rest + 1) if rest % d == 0][:20]))
    kind = m.integer(0, 3)
    value = m.dequantize(x)
    if kind == 0:
        axis = m.integer(0, len(x.shape))
        (y,) = m.node("Flatten", [value], axis=axis)
        shape = (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))
    elif kind == 1:
        axis = m.integer(0, len(x.shape))
        (y,) = m.node("Unsqueeze", [value, m.constant(np.array([axis], np.int64))])
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
    else:
        shape = (first, second, rest // second) if kind == 2 else (first, rest)
        (y,) = m.node("Reshape", [value, m.constant(np.array(shape, np.int64))])
    if len(shape) > 6:
        return False
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def transpose(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 2)
    if x is None:
        return False
    perm = [int(p) for p in m.random.permutation(len(x.shape))]
    (y,) = m.node("Transpose", [m.dequantize(x)], perm=perm)
    m.quantize_as(y, tuple(x.shape[p] for p in perm), x.scale, x.zero_point, x.dtype)
    return True


def resize(m: ModelMaker) -> bool:
    x = m.image()
    if x is None or np.prod(x.shape) > 20_000:
        return False
    scales = [1.0, 1.0, float(m.random.choice([0.5, 1, 2, 3])), float(m.random.choice([1, 2, 1.5]))]
    shape = tuple(int(np.floor(s * f)) for s, f in zip(x.shape, scales, strict=True))
    if min(shape) < 1:
        return False
    mode = "nearest" if m.chance(0.6) else "linear"
    transforms = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]
    attributes: dict[str, object] = {
        "mode": mode,
        "coordinate_transformation_mode": str(m.random.choice(transforms)),
    }
    if mode == "nearest":
        attributes["nearest_mode"] = str(m.random.choice(["floor", "ceil", "round_prefer_floor"]))
    (y,) = m.node(
        "Resize", [m.dequantize(x), "", m.constant(np.array(scales, np.float32))], **attributes
    )
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def space_depth(m: ModelMaker) -> bool:
    x = m.image()
    if x is None:
        return False
    if x.shape[1] % 4 == 0 and m.chance(0.5):
        mode = str(m.random.choice(["DCR", "CRD"]))
        (y,) = m.node("DepthToSpace", [m.dequantize(x)], blocksize=2, mode=mode)
        shape = (x.shape[0], x.shape[1] // 4, x.shape[2] * 2, x.shape[3] * 2)
    elif x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0:
        (y,) = m.node("SpaceToDepth", [m.dequantize(x)], blocksize=2)
        shape = (x.shape[0], x.shape[1] * 4, x.shape[2] // 2, x.shape[3] // 2)
    else:
        return False
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def gather(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 1 and min(v.shape) > 0)
    if x is None:
        return False
    axis = m.integer(0, len(x.shape) - 1)
    size = x.shape[axis]
    indices = m.random.integers(-size, size, m.integer(1, 5)).astype(np.int64)
    (y,) = m.node("Gather", [m.dequantize(x), m.constant(indices)], axis=axis)
    shape = tuple(len(indices) if i == axis else s for i, s in enumerate(x.shape))
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def expand(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: 1 in v.shape and np.prod(v.shape) < 5000)
    if x is None:
        return False
    shape = tuple(m.integer(1, 4) if s == 1 else s for s in x.shape)
    (y,) = m.node("Expand", [m.dequantize(x), m.constant(np.array(shape, np.int64))])
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def batch_normalization(m: ModelMaker) -> bool:
    x = m.image()
    if x is None:
        return False
    c = x.shape[1]
    parameters = [m.random.uniform(0.5, 1.5, c).astype(np.float32) for _ in range(4)]
    (y,) = m.node("BatchNormalization", [m.dequantize(x), *(m.constant(p) for p in parameters)])
    m.quantize(y, x.shape, x.amplitude)
    return True


def fresh_input(m: ModelMaker) -> bool:
    if len(m.inputs) >= 3:
        return False
    m.new_input(_shape(m))
    return True


OPERATORS: tuple[tuple[Callable[[ModelMaker], bool], int], ...] = (
    (conv, 10),
    (conv_transpose, 1),
    (gemm, 4),
    (matmul, 3),
    (binary, 8),
    (unary, 5),
    (clip, 2),
    (silu, 2),
    (chain, 2),
    (pool, 3),
    (global_pool, 1),
    (reduce, 2),
    (softmax, 1),
    (concat, 3),
    (split, 2),
    (slice_, 2),
    (pad, 1),
    (reshape, 3),
    (transpose, 2),
    (resize, 1),
    (space_depth, 1),
    (gather, 1),
    (expand, 1),
    (batch_normalization, 1),
    (fresh_input, 1),
)


def _shape(m: ModelMaker) -> tuple[int, ...]:
    if m.chance(0.75):
        channels = int(m.random.choice([1, 3, 4, 5, 8, 16, 17, 32, 48, 65]))
        return (int(m.random.choice([1, 1, 2])), channels, m.integer(1, 14), m.integer(1, 14))
    rank = m.integer(1, 5)
    return tuple(m.integer(1, 9) for _ in range(rank))


def random_model(
    seed: int, *, signed: bool | None = False
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model and its inputs. `signed`: int8 activations, uint8, or (None) a mixture."""
    maker = ModelMaker(seed, signed=signed)
    maker.new_input(_shape(maker))
    weights = np.array([weight for _, weight in OPERATORS], float)
    wanted = maker.integer(1, 12)
    for _ in range(100):
        if wanted == 0:
            break
        index = int(maker.random.choice(len(OPERATORS), p=weights / weights.sum()))
        nodes, values = len(maker.nodes), len(maker.values)
        used = set(maker.used)
        if OPERATORS[index][0](maker):
            wanted -= 1
        else:
            del maker.nodes[nodes:], maker.values[values:]
            maker.used = used
    return maker.finish(), maker.feeds


def difference(expected: list[np.ndarray], actual: list[np.ndarray]) -> str | None:
    """How two lists of outputs differ: the first index and both values, or None where they do not."""
    for number, (want, got) in enumerate(zip(expected, actual, strict=True)):
        if want.shape != got.shape or want.dtype != got.dtype:
            return f"output {number}: {want.dtype}{want.shape} against {got.dtype}{got.shape}"
        same = (want == got) | ((want != want) & (got != got))
        if not same.all():
            index = tuple(int(i) for i in np.argwhere(~same)[0])
            return (
                f"output {number}, {int((~same).sum())} of {same.size} elements, first at {index}: "
                f"{want[index]} against {got[index]}"
            )
    return None


def operators(model: onnx.ModelProto) -> Iterator[str]:
    """The operator types of a model, without Q and DQ."""
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            yield node.op_type


def main() -> int:
    """Run many models; returns 1 if any differed or failed."""
    import onnxruntime as ort

    import furiosa_ep

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--signed", choices=("no", "yes", "mixed"), default="no")
    arguments = parser.parse_args()
    signed = {"no": False, "yes": True, "mixed": None}[arguments.signed]
    furiosa_ep.register()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    failures: Counter[str] = Counter()
    bad = 0
    start = time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.count):
        model, feeds = random_model(seed, signed=signed)
        data = model.SerializeToString()
        expected = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(
            None, feeds
        )
        try:
            session = ort.InferenceSession(
                data, options, providers=["FuriosaProvider", "CPUExecutionProvider"]
            )
            found = difference(expected, session.run(None, feeds))
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found:
            bad += 1
            types = sorted(set(operators(model)))
            failures.update(types)
            print(f"seed {seed}: {found} [{' '.join(types)}]", flush=True)
    seconds = time.monotonic() - start
    print(f"{arguments.count} models, {bad} differ, {seconds:.0f} s; {dict(failures)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

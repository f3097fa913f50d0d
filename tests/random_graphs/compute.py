"""Operators that compute: each adds nodes and quantized results and returns whether it fitted."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.random_graphs.maker import ModelMaker


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
    attributes: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
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
            ints: npt.NDArray[Any] = m.random.integers(info.min, info.max + 1, shape).astype(dtype)
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


UNARY: dict[str, dict[str, Any]] = {
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
    if m.chance(0.2):
        kernel = list(x.shape[2:])
    strides = [m.integer(1, 2), m.integer(1, 2)]
    pads = [m.integer(0, min(k - 1, 2)) if m.chance(0.5) else 0 for k in kernel * 2]
    shape = [
        (x.shape[2 + i] + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i in range(2)
    ]
    attributes: dict[str, Any] = {}
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
    attributes: dict[str, Any] = {"keepdims": keepdims}
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

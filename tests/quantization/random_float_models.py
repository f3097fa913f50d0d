"""Random float models of the operators that graph optimisation rewrites."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.quantization.optimizing import Array

OPSETS = (9, 11, 13, 17, 21)


@dataclass
class Maker:
    """A model that grows by one step a call, along images and, after `flat`, along rows."""

    random: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    values: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    names: int = 0

    def name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def constant(self, array: Array) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def floats(self, *shape: int) -> str:
        """Random weights; at times an old initializer is taken again."""
        old = [
            one.name for one in self.constants if tuple(one.dims) == shape and one.data_type == 1
        ]
        if old and self.random.random() < 0.2:
            return str(self.random.choice(old))
        return self.constant(self.random.normal(0.2, 0.6, shape).astype(np.float32))

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = self.name()
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"n{name}", **attributes))
        return name

    def push(self, name: str, shape: tuple[int, ...]) -> None:
        self.values.append((name, shape))

    def pick(self, rank: int) -> tuple[str, tuple[int, ...]] | None:
        """Mostly the newest value of a rank, at times an older one, which then has two readers."""
        found = [one for one in self.values if len(one[1]) == rank]
        if not found:
            return None
        return found[-1] if self.random.random() < 0.8 else found[self.random.integers(len(found))]

    def flip(self, chance: float = 0.5) -> bool:
        return bool(self.random.random() < chance)


def conv(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    n, c, h, w = shape
    group = c if m.flip(0.3) else 1
    out, kernel = c * int(m.random.integers(1, 3)), int(m.random.integers(1, 4))
    pad = int(m.random.integers(0, 2)) if kernel > 1 else 0
    if h + 2 * pad < kernel or w + 2 * pad < kernel or out > 12:
        return
    inputs = [x, m.floats(out, c // group, kernel, kernel), *([m.floats(out)] if m.flip() else [])]
    y = m.node("Conv", *inputs, group=group, pads=[pad] * 4)
    m.push(y, (n, out, h + 2 * pad - kernel + 1, w + 2 * pad - kernel + 1))


def conv_transpose(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    n, c, h, w = shape
    if h > 8:
        return
    y = m.node("ConvTranspose", x, m.floats(c, 3, 2, 2), strides=[2, 2])
    m.push(y, (n, 3, h * 2, w * 2))


def batch_normalization(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    c = shape[1]
    variance = m.constant(m.random.uniform(0.5, 2, c).astype(np.float32))
    inputs = [m.floats(c), m.floats(c), m.floats(c), variance]
    m.push(m.node("BatchNormalization", x, *inputs, epsilon=0.01), shape)


def arithmetic(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    op_type = str(m.random.choice(["Mul", "Add", "Sub"]))
    trailing = (1,) * (len(shape) - 2)
    dims = [(), (1,), (shape[1], *trailing), (1, shape[1], *trailing), (shape[-1],)]
    inputs = [x, m.floats(*dims[m.random.integers(len(dims))])]
    m.push(m.node(op_type, *(inputs if m.flip() else inputs[::-1])), shape)


def division(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    m.push(m.node("Div", x, m.constant(m.random.uniform(0.5, 2, ()).astype(np.float32))), shape)


def limit(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    op_type = str(m.random.choice(["Relu", "Max", "Min"]))
    bound = m.constant(np.array(m.random.normal(), np.float32))
    m.push(m.node(op_type, x) if op_type == "Relu" else m.node(op_type, x, bound), shape)


def prelu(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    slopes = (shape[1], *[1] * (len(shape) - 2))
    shared = np.full(slopes, 0.3, np.float32)
    m.push(m.node("PRelu", x, m.constant(shared) if m.flip() else m.floats(*slopes)), shape)


def no_op(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    op_type = str(m.random.choice(["Identity", "Dropout", "Sum", "Cast"]))
    attributes = {"to": TensorProto.FLOAT} if op_type == "Cast" else {}
    m.push(m.node(op_type, x, **attributes), shape)


def activation(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    m.push(m.node(str(m.random.choice(["Sigmoid", "Tanh", "Neg", "LeakyRelu"])), x), shape)


def merge(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    others = [name for name, other in m.values if other == shape]
    m.push(m.node("Add", x, str(m.random.choice(others))), shape)


def pad(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    n, c, h, w = shape
    pads = [0, 0, *m.random.integers(-1, 3, 2), 0, 0, *m.random.integers(-1, 3, 2)]
    if m.opset < 11 or min(h, w) < 4 or max(h, w) > 20:
        return
    y = m.node("Pad", x, m.constant(np.array(pads, np.int64)))
    m.push(y, (n, c, h + int(pads[2] + pads[6]), w + int(pads[3] + pads[7])))


def flat(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    """To rows, by the shape as exporters compute it."""
    pooled = m.node("GlobalAveragePool", x)
    index = m.constant(np.array([0]))
    batch = m.node("Gather", m.node("Shape", pooled), index)
    target = m.node("Concat", batch, m.constant(np.array([-1])), axis=0)
    m.push(m.node("Reshape", pooled, target), shape[:2])


def matmul(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    weight = m.floats(shape[1], 4)
    if m.flip(0.3):
        weight = m.node("Transpose", m.floats(4, shape[1]))
    m.push(m.node("MatMul", x, weight), (shape[0], 4))


def gemm(m: Maker, x: str, shape: tuple[int, ...]) -> None:
    bias = [m.floats(3), m.floats(1, 3), m.floats(shape[0], 1)][m.random.integers(3)]
    inputs = [x, m.floats(3, shape[1]), *([bias] if m.opset < 11 or m.flip(0.7) else [])]
    attributes = {"alpha": 0.5, "beta": 2.0} if m.flip(0.3) else {}
    m.push(m.node("Gemm", *inputs, transB=1, **attributes), (shape[0], 3))


Step = Callable[[Maker, str, tuple[int, ...]], None]
IMAGE_STEPS: tuple[Step, ...] = (conv, conv_transpose, pad, flat)
ROW_STEPS: tuple[Step, ...] = (matmul, gemm)
ANY_STEPS: tuple[Step, ...] = (
    batch_normalization,
    arithmetic,
    division,
    limit,
    prelu,
    no_op,
    activation,
    merge,
)


def random_model(seed: int, steps: int) -> onnx.ModelProto:
    """The same model for the same numbers."""
    random = np.random.default_rng(seed)
    maker = Maker(random, int(random.choice(OPSETS)))
    shape = (2, int(random.integers(1, 4)), 7, 6)
    maker.push("x", shape)
    for _ in range(steps):
        rank = 2 if maker.pick(2) and maker.flip() else 4
        own, name_and_shape = (ROW_STEPS if rank == 2 else IMAGE_STEPS), maker.pick(rank)
        if name_and_shape is not None:
            choices = own if maker.flip() else ANY_STEPS
            choices[random.integers(len(choices))](maker, *name_and_shape)
    return _model(maker, shape)


def _model(maker: Maker, shape: tuple[int, ...]) -> onnx.ModelProto:
    """With the last value as output, and at times another one."""
    last = maker.values[-1]
    if last[0] == "x":
        last = (maker.node("Relu", "x"), shape)
    outputs = dict([last])
    if maker.flip(0.3) and len(maker.values) > 2:
        outputs.update([maker.values[1 + maker.random.integers(len(maker.values) - 1)]])
    is_open = maker.flip() and not _has_batch(maker)
    dims: list[int | str | None] = ["N" if is_open else shape[0], *shape[1:]]
    graph = helper.make_graph(
        maker.nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(dims))
            for name, dims in outputs.items()
        ],
        maker.constants,
    )
    opset = helper.make_opsetid("", maker.opset)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def _has_batch(maker: Maker) -> bool:
    """Whether a bias is only for a batch of 2."""
    return any(tuple(one.dims) == (2, 1) for one in maker.constants)

"""Small quantized models, and the check that the NPU claims them and computes the CPU's bits."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.device_emulator import Executable
from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.shape_arithmetic import shape_values
from furiosa_ep.partitioner.support import Decline
from furiosa_ep.partitioner.units import node_units

Array = npt.NDArray[Any]


@dataclass
class Qdq:
    """Builds a model around 8-bit values; names stand for values."""

    seed: int = 0
    opset: int = 17
    dtype: type[np.integer[Any]] = np.uint8
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)
    feeds: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, Sequence[int | str]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    float_outputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def name(self, kind: str) -> str:
        """A new name."""
        return f"{kind}{len(self.nodes) + len(self.initializers) + len(self.feeds)}"

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """An initializer."""
        name = self.name("c")
        self.initializers[name] = np.asarray(array, dtype)
        return name

    def params(self, scale: float | None = None, zero_point: int | None = None) -> list[str]:
        """Scale and zero point, random where not given."""
        limits = np.iinfo(self.dtype)
        if scale is None:
            scale = float(self.rng.uniform(0.01, 0.1))
        if zero_point is None:
            zero_point = int(self.rng.integers(limits.min, limits.max + 1))
        return [self.constant(np.float32(scale)), self.constant(zero_point, self.dtype)]

    def raw(self, shape: Sequence[int], declared: Sequence[int | str] | None = None) -> str:
        """An 8-bit input of the model."""
        name = self.name("x")
        limits = np.iinfo(self.dtype)
        values: Array = self.rng.integers(limits.min, limits.max + 1, shape)
        self.feeds[name] = values.astype(self.dtype)
        self.shapes[name] = tuple(shape) if declared is None else declared
        return name

    def node(self, op_type: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> Any:
        """The result of an operator; a list of them for another count than 1."""
        names = [self.name("v") + f"_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names[0] if count == 1 else names

    def x(
        self,
        *shape: int,
        scale: float | None = None,
        zero_point: int | None = None,
        declared: Sequence[int | str] | None = None,
    ) -> str:
        """An 8-bit input through DequantizeLinear."""
        return self.dequantize(self.raw(shape, declared), self.params(scale, zero_point))

    def dequantize(self, value: str, params: Sequence[str]) -> str:
        """A value through DequantizeLinear."""
        return str(self.node("DequantizeLinear", [value, *params]))

    def weights(
        self, shape: Sequence[int], axis: int | None = None, dtype: type = np.int8, zero: int = 0
    ) -> str:
        """A quantized constant through DequantizeLinear, with a scale for each index of `axis`."""
        limits = np.iinfo(dtype)
        values: Array = self.rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
        count = () if axis is None else (shape[axis],)
        scale = self.rng.uniform(0.001, 0.01, count).astype(np.float32)
        names = [self.constant(values), self.constant(scale)]
        names.append(self.constant(np.full(count, zero, dtype)))
        attributes = {} if axis is None else {"axis": axis}
        return str(self.node("DequantizeLinear", names, **attributes))

    def bias(self, shape: Sequence[int], inputs: Sequence[str], factor: float = 1) -> str:
        """An int32 constant through DequantizeLinear, with the product of the inputs' scales."""
        scales = {
            node.output[0]: self.initializers[node.input[1]]
            for node in self.nodes
            if node.op_type == "DequantizeLinear"
        }
        scale = (scales[inputs[0]] * scales[inputs[1]] * np.float32(factor)).astype(np.float32)
        values = self.rng.integers(-5000, 5000, shape).astype(np.int32)
        names = [self.constant(values), self.constant(scale)]
        return str(self.node("DequantizeLinear", names, axis=0))

    def y(self, value: str, scale: float | None = None, zero_point: int | None = None) -> None:
        """A value through QuantizeLinear as an output of the model."""
        self.output(self.node("QuantizeLinear", [value, *self.params(scale, zero_point)]))

    def quantize(self, value: str, params: Sequence[str]) -> None:
        """`y` with the parameters of another value."""
        self.output(self.node("QuantizeLinear", [value, *params]))

    def output(self, value: str, *, quantized: bool = True) -> None:
        """A value as an output of the model, 8-bit or float."""
        (self.outputs if quantized else self.float_outputs).append(value)

    def model(self) -> bytes:
        """The serialized model."""
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(
            self.nodes,
            "g",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(feed.dtype), self.shapes[name]
                )
                for name, feed in self.feeds.items()
            ],
            [
                *(helper.make_tensor_value_info(name, dtype, None) for name in self.outputs),
                *(
                    helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                    for name in self.float_outputs
                ),
            ],
            [numpy_helper.from_array(array, name) for name, array in self.initializers.items()],
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return bytes(made.SerializeToString())


def cpu(model: bytes, feeds: dict[str, Array]) -> list[Array]:
    """What ONNX Runtime's CPU provider computes, with all its optimizations."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [np.asarray(one) for one in session.run(None, feeds)]


def seen_by_providers(model: bytes) -> bytes:
    """The model after ONNX Runtime's level 1, which providers get to see."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return bytes(onnx.shape_inference.infer_shapes(onnx.load(path)).SerializeToString())


def declines(model: bytes) -> list[Decline]:
    """Why units of a model, taken as it is, are not on the NPU."""
    graph = Graph.from_bytes(model)
    shapes = shape_values(graph)
    found = [
        registry().support(unit, graph)
        for unit in node_units(graph)
        if unit.node.outputs[0] not in shapes
    ]
    return [one for one in found if isinstance(one, Decline)]


def npu(model: bytes, feeds: dict[str, Array]) -> list[Array]:
    """What the NPU computes for a model that it claims as a whole."""
    partition = CompiledPartition(model)
    inputs = [feeds[name] for name in partition.inputs]
    program = Executable(partition.program([one.shape for one in inputs]))
    by_name = dict(zip(partition.outputs, program.run(inputs), strict=True))
    return [by_name[name] for name in Graph.from_bytes(model).outputs]


def check(q: Qdq, steps: int = 0) -> None:
    """The NPU claims all of the model and gives the CPU's bits, or at most `steps` beside them."""
    model = q.model()
    seen = seen_by_providers(model)
    found = declines(seen)
    assert not found, "\n".join(f"{one.code}: {one.reason}" for one in found)
    for number, (want, got) in enumerate(zip(cpu(model, q.feeds), npu(seen, q.feeds), strict=True)):
        assert (want.dtype, want.shape) == (got.dtype, got.shape)
        if want.dtype == np.float32:
            difference = want.view(np.int32).astype(np.int64) - got.view(np.int32)
        else:
            difference = want.astype(np.int64) - got
        if (np.abs(difference) > steps).any():
            index = tuple(int(i) for i in np.argwhere(np.abs(difference) > steps)[0])
            wrong = int((np.abs(difference) > steps).sum())
            raise AssertionError(
                f"output {number}, {wrong} of {want.size} differ, first {index}: "
                f"CPU {want[index]}, NPU {got[index]}"
            )


def declined(q: Qdq) -> Decline:
    """The only decline of a model, as it is."""
    (found,) = {(one.code, one.reason, one.mend): one for one in declines(q.model())}.values()
    return found

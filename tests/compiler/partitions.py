"""Partitions of models, made and run without ONNX Runtime's part in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.device_emulator import Executable, run_reference
from furiosa_ep.program import Program

Arrays = dict[str, npt.NDArray[Any]]


def basic_optimized(model: bytes, path: Path) -> onnx.ModelProto:
    """The model as providers see it: after ONNX Runtime's level 1, which is written to `path`."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.shape_inference.infer_shapes(onnx.load(path))


def extract(model: onnx.ModelProto, nodes: Sequence[int]) -> onnx.ModelProto:
    """The model that consists of the nodes at these positions alone."""
    chosen = [model.graph.node[index] for index in sorted(nodes)]
    inside = {id(node) for node in chosen}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            constants[tensor.name] = tensor
    produced = {name for node in chosen for name in node.output}
    consumed = [name for node in chosen for name in node.input if name]
    outside = {name for node in model.graph.node if id(node) not in inside for name in node.input}
    outside |= {info.name for info in model.graph.output}
    types = {
        info.name: info
        for info in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "partition"
    part.graph.node.extend(chosen)
    part.graph.initializer.extend(
        constants[name] for name in dict.fromkeys(consumed) if name in constants
    )
    for name in dict.fromkeys(consumed):
        if name not in produced and name not in constants:
            part.graph.input.append(types[name])
    outputs = [name for node in chosen for name in node.output if name in outside]
    part.graph.output.extend(types[name] for name in outputs)
    part.graph.value_info.extend(
        types[name] for name in produced if name in types and name not in outputs
    )
    return part


def run_on_cpu(model: bytes, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """What ONNX Runtime's CPU provider computes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return [np.asarray(one) for one in session.run(None, dict(zip(names, inputs, strict=True)))]


def compile_and_run(
    model: bytes, inputs: Sequence[npt.NDArray[Any]], *, native: bool = True
) -> tuple[Program, list[npt.NDArray[Any]]]:
    """The Program of a model that is one partition, and its outputs, by the native executor (which
    must agree with the reference) or by the reference alone."""
    partition = CompiledPartition(model)
    data = partition.program([one.shape for one in inputs])
    program = Program.from_bytes(data)
    expected = run_reference(program, inputs)
    if native:
        for own, reference in zip(Executable(data).run(inputs), expected, strict=True):
            np.testing.assert_array_equal(own, reference)
    return program, expected

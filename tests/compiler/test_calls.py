"""Operators that the kernel of a plugin computes, from the ONNX node to the CALL."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from furiosa_ep.compiler.builder import GraphBuilder
from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.device_emulator import Executable, register_kernel, run_reference
from furiosa_ep.kernels.kernel import Kernel, KernelFrame
from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.operators.calling import kernel_lowering
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import Scope
from furiosa_ep.partitioner.support import OperatorSupport
from furiosa_ep.program import DType, Program
from tests.compiler.partitions import run_on_cpu
from tests.partitioner.graphs import graph, model


def fmod(frame: KernelFrame) -> None:
    x, divisor = frame.inputs
    assert x is not None
    values = x.dequantized() if x.array.dtype == np.uint8 else x.array
    by = np.float32(frame.attributes["divisor"]) if divisor is None else divisor.array
    result = np.fmod(values, by)
    y = frame.output
    y.array[...] = y.quantized(result) if y.array.dtype == np.uint8 else result


FMOD = Kernel("TEST_FMOD", "x:u8|f32 divisor:f32? -> y:u8|f32", fmod, "divisor:f unused")


class Plugin:
    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return PluginInfo("tester", "1.0")

    @hookimpl
    def furiosa_operators(self) -> Iterable[OperatorSupport]:
        lower = kernel_lowering("TEST_FMOD", lambda unit: {"divisor": 0.7, "unused": 0})
        return [OperatorSupport("Mod", lower, since=10, kernels=("TEST_FMOD",))]

    @hookimpl
    def furiosa_kernels(self) -> Iterable[Kernel]:
        return [FMOD]


REGISTRY = build_registry({"tester": Plugin()})


def check(body: str, inputs: str, outputs: str, *values: npt.NDArray[Any]) -> Program:
    """The Program of a model, which must compute what the CPU provider computes."""
    register_kernel(FMOD, "tester")
    typed = onnx.shape_inference.infer_shapes(onnx.load_from_string(model(body, inputs, outputs)))
    data = bytes(typed.SerializeToString())
    written = CompiledPartition(data, REGISTRY, Scope(python_kernels=True)).program()
    program = Program.from_bytes(written)
    native, reference = Executable(written).run(values), run_reference(program, values)
    for own, slow, want in zip(native, reference, run_on_cpu(data, values), strict=True):
        np.testing.assert_array_equal(own, want)
        np.testing.assert_array_equal(slow, want)
    return program


def opcodes(program: Program) -> list[str]:
    names = (one.opcode for one in program.commands)
    return [
        program.kernel(command) if name == "CALL" else name
        for name, command in zip(names, program.commands, strict=True)
    ]


def test_a_kernel_between_quantized_values() -> None:
    body = """a = DequantizeLinear(x, s, z9)
              b = Mod<fmod=1>(a, three)
              y = QuantizeLinear(b, s, z9)"""
    x = np.arange(256, dtype=np.uint8).reshape(4, 64)
    program = check(body, "uint8[4,64] x", "uint8[4,64] y", x)
    assert opcodes(program) == ["TEST_FMOD"]


def test_signed_values_are_in_the_stored_domain() -> None:
    body = """a = DequantizeLinear(x, s, z8)
              b = Mod<fmod=1>(a, three)
              y = QuantizeLinear(b, s, z8)"""
    x = np.arange(-128, 128).astype(np.int8).reshape(4, 64)
    program = check(body, "int8[4,64] x", "int8[4,64] y", x)
    assert opcodes(program) == ["COPY", "TEST_FMOD", "COPY"]


def test_a_kernel_of_floats_between_the_commands_of_the_npu() -> None:
    body = """q = QuantizeLinear(x, s, z9)
              a = DequantizeLinear(q, s, z9)
              y = Mod<fmod=1>(a, half)
              e = QuantizeLinear(y, s, z9)"""
    x = np.random.default_rng(0).normal(5, 5, (2, 6)).astype(np.float32)
    program = check(body, "float[2,6] x", "float[2,6] y, uint8[2,6] e", x)
    assert opcodes(program) == ["QUANTIZE", "TEST_FMOD", "QUANTIZE"]


def builder() -> GraphBuilder:
    return GraphBuilder(graph("y = Mod(x)"), {"x": (1, 2, 4, 4)}, {"TEST_FMOD": FMOD})


def test_a_call_of_absent_operands() -> None:
    made = builder()
    x = made.value("x")
    y = made.call("TEST_FMOD", [x, None], x.shape, divisor=0.5, unused=1)
    assert (y.dtype, y.shape, y.signed) == (DType.U8, x.shape, False)
    (operation,) = made.device.operations
    assert operation.attributes["params"] == (None, None)
    assert operation.attributes["values"] == {"divisor": 0.5, "unused": 1}


def test_a_call_that_does_not_fit_the_declaration() -> None:
    made = builder()
    x = made.value("x")
    with pytest.raises(InternalError, match="calls kernel TEST_MODULO, which no plugin has"):
        made.call("TEST_MODULO", [x], x.shape)
    declared = re.escape("kernel TEST_FMOD: 1 operands, expected x:u8|f32 divisor:f32?")
    with pytest.raises(InternalError, match=declared):
        made.call("TEST_FMOD", [x], x.shape, divisor=1.0, unused=0)
    with pytest.raises(InternalError, match="kernel TEST_FMOD: operand x is missing"):
        made.call("TEST_FMOD", [None, None], x.shape, divisor=1.0, unused=0)
    with pytest.raises(InternalError, match="kernel TEST_FMOD: y is i64, expected u8 or f32"):
        made.call("TEST_FMOD", [x, None], x.shape, DType.I64, divisor=1.0, unused=0)
    with pytest.raises(InternalError, match=r"\['divisor'\], expected \['divisor', 'unused'\]"):
        made.call("TEST_FMOD", [x, None], x.shape, divisor=1.0)

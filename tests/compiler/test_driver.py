import ctypes
import dataclasses
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest

from furiosa_ep.compiler.driver import CompiledPartition, partition_model
from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.device_emulator import Executable
from furiosa_ep.options import Options
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.registry import Registry, Scope
from furiosa_ep.partitioner.support import OperatorSupport
from furiosa_ep.program import Engine, Program, Schedule
from tests.compiler.partitions import compile_and_run, extract, run_on_cpu
from tests.effort import lines_run

CONSTANTS = """float s = {0.05}, float t = {0.04}, uint8 z = {128}, uint8 z3 = {3}, int8 sz = {5},
    int8 wz = {0}, int64[4] all = {0, -1, 1, 1}, int64[1] two = {2}, int64[1] minus = {-1},
    int64[1] one = {1}, int64 zero = {0}, uint8[2] codes = {7, 8}, int8[2] signed = {-7, 8}"""


def model(body: str, inputs: str, outputs: str, weights: dict[str, Any] | None = None) -> bytes:
    """A model in ONNX's text form; `weights` are further initializers."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g ({inputs}) => ({outputs}) <{CONSTANTS}> {{ {body} }}"""
    proto = onnx.parser.parse_model(text)
    for name, array in (weights or {}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return bytes(onnx.shape_inference.infer_shapes(proto).SerializeToString())


def conv_weights(*shape: int, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(seed)
    scales = random.uniform(0.002, 0.01, shape[0]).astype(np.float32)
    return {
        "w": random.integers(-127, 128, shape, np.int8),
        "ws": scales,
        "wzs": np.zeros(shape[0], np.int8),
        "b": random.integers(-900, 900, shape[0], np.int32),
        "bs": scales * np.float32(0.05),
        "bz": np.zeros(shape[0], np.int32),
    }


CONV = """{y}w_ = DequantizeLinear <axis=0> (w, ws, wzs)
    {y}b_ = DequantizeLinear <axis=0> (b, bs, bz)
    {y}x_ = DequantizeLinear ({x}, s, z)
    {y}y_ = Conv <pads=[1,1,1,1]> ({y}x_, {y}w_, {y}b_)
    {y} = QuantizeLinear ({y}y_, s, z)
"""


def conv(x: str, y: str) -> str:
    return CONV.format(x=x, y=y)


def random_inputs(*shapes: tuple[int, ...], seed: int = 1) -> list[npt.NDArray[Any]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, shape, np.uint8) for shape in shapes]


def check(data: bytes, inputs: list[npt.NDArray[Any]]) -> Program:
    """The Program of a partition, which must compute what the CPU provider computes."""
    program, outputs = compile_and_run(data, inputs)
    for own, want in zip(outputs, run_on_cpu(data, inputs), strict=True):
        np.testing.assert_array_equal(own, want)
    return program


def opcodes(program: Program) -> list[str]:
    return [command.opcode for command in program.commands]


def test_a_residual_block_from_float_to_float() -> None:
    data = model(
        "q = QuantizeLinear(x, s, z)"
        + conv("q", "c")
        + """p = DequantizeLinear(q, s, z)
             r = DequantizeLinear(c, s, z)
             a = Add(r, p)
             e = QuantizeLinear(a, t, z3)
             y = DequantizeLinear(e, t, z3)""",
        "float[1,4,6,5] x",
        "float[1,4,6,5] y",
        conv_weights(4, 4, 3, 3),
    )
    x = np.random.default_rng(0).normal(0, 3, (1, 4, 6, 5)).astype(np.float32)
    assert opcodes(check(data, [x])) == ["QUANTIZE", "CONV", "DEQUANTIZE"]


def test_bytes_in_and_out() -> None:
    data = model(conv("x", "y"), "uint8[2,3,6,5] x", "uint8[2,4,6,5] y", conv_weights(4, 3, 3, 3))
    assert opcodes(check(data, random_inputs((2, 3, 6, 5)))) == ["COPY", "CONV", "COPY"]


def test_signed_bytes_in_and_out() -> None:
    data = model(
        """a = DequantizeLinear(x, s, sz)
           b = Tanh(a)
           y = QuantizeLinear(b, t, sz)
           c = DequantizeLinear(x, s, sz)
           d = Sigmoid(c)
           w = QuantizeLinear(d, s, sz)""",
        "int8[3,5] x",
        "int8[3,5] y, int8[3,5] w",
    )
    x = np.random.default_rng(0).integers(-128, 128, (3, 5), np.int8)
    program = check(data, [x])
    assert opcodes(program) == ["COPY", "COPY"]  # the tables of the borders are in them


def test_outputs_that_share_values_and_inputs() -> None:
    data = model(
        """a = DequantizeLinear(x, s, z)
           b = Reshape(a, minus)
           y = QuantizeLinear(b, s, z)
           c = DequantizeLinear(y, s, z)
           d = Reshape(c, minus)
           w = QuantizeLinear(d, s, z)""",
        "uint8[3,5] x",
        "uint8[15] y, uint8[15] w",
    )
    check(data, random_inputs((3, 5)))


def test_two_quantizations_of_one_float_input() -> None:
    data = model(
        """a = QuantizeLinear(x, s, z)
           b = QuantizeLinear(x, t, z3)
           p = DequantizeLinear(a, s, z)
           q = DequantizeLinear(b, t, z3)
           c = Add(p, q)
           y = QuantizeLinear(c, t, z)""",
        "float[2,3] x",
        "uint8[2,3] y",
    )
    x = np.random.default_rng(0).normal(0, 3, (2, 3)).astype(np.float32)
    assert opcodes(check(data, [x])) == ["QUANTIZE", "QUANTIZE", "ADD"]


DYNAMIC = (
    conv("x", "c")
    + """n = Shape(x)
         k = Gather(n, zero)
         l = Unsqueeze(k, one_axis)
         f = Concat <axis=0> (l, minus)
         r = DequantizeLinear(c, s, z)
         g = Reshape(r, f)
         y = QuantizeLinear(g, s, z)"""
)


def dynamic_partition() -> bytes:
    weights = {**conv_weights(4, 3, 3, 3), "one_axis": np.array([0], np.int64)}
    return model(DYNAMIC, "uint8[N,3,H,W] x", "uint8[N,M] y", weights)


def test_a_program_for_every_shape() -> None:
    data = dynamic_partition()
    partition = CompiledPartition(data)
    assert not partition.static
    for shape in ((1, 3, 4, 4), (3, 3, 5, 2), (1, 3, 4, 4)):
        (x,) = random_inputs(shape)
        (y,) = Executable(partition.program([shape])).run([x])
        np.testing.assert_array_equal(y, run_on_cpu(data, [x])[0])


def test_an_empty_batch() -> None:
    data = model(conv("x", "y"), "uint8[N,3,5,5] x", "uint8[N,4,5,5] y", conv_weights(4, 3, 3, 3))
    assert opcodes(check(data, random_inputs((0, 3, 5, 5)))) == []


def test_a_shape_of_a_value_that_is_only_measured() -> None:
    data = model(
        """n = Shape(other)
           a = DequantizeLinear(x, s, z)
           b = Expand(a, n)
           y = QuantizeLinear(b, s, z)""",
        "uint8[1,3] x, int64[N,M] other",
        "uint8[N,M] y",
    )
    check(data, [*random_inputs((1, 3)), np.zeros((4, 3), np.int64)])


def test_programs_by_several_threads_are_equal() -> None:
    partition = CompiledPartition(dynamic_partition())
    expected = partition.program([(2, 3, 5, 5)])
    found: list[bytes] = []

    def compile_again() -> None:
        found.append(partition.program([(2, 3, 5, 5)]))

    threads = [threading.Thread(target=compile_again) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


def test_constants_in_memory_may_go_when_shapes_are_open() -> None:
    proto = onnx.load_model_from_string(dynamic_partition())
    kept = CompiledPartition(proto.SerializeToString()).program([(1, 3, 4, 4)])
    memory = []
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        memory.append(array)
        tensor.ClearField("raw_data")
        for name in ("float_data", "int32_data", "int64_data"):
            tensor.ClearField(name)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "@mem"), ("offset", str(array.ctypes.data))):
            tensor.external_data.add(key=key, value=value)
    partition = CompiledPartition(proto.SerializeToString())
    for array in memory:
        ctypes.memset(array.ctypes.data, 0x55, array.nbytes)
    assert partition.program([(1, 3, 4, 4)]) == kept


def test_commands_are_named_for_nodes() -> None:
    proto = onnx.load_model_from_string(dynamic_partition())
    for node in proto.graph.node:
        if node.op_type == "Conv":
            node.name = "backbone/conv"
    program = CompiledPartition(proto.SerializeToString()).build([(1, 3, 4, 4)])
    assert "backbone/conv" in [command.name for command in program.commands]


def test_shapes_are_needed_where_the_model_leaves_them_open() -> None:
    partition = CompiledPartition(dynamic_partition())
    with pytest.raises(CompileError, match=r"input 'x' has shape .*: pass the shapes"):
        partition.program()
    with pytest.raises(CompileError, match="2 input shapes: expected one for each of 'x'"):
        partition.program([(1, 3, 4, 4), (1,)])


def test_shapes_that_the_model_does_not_take() -> None:
    with pytest.raises(
        InternalError, match=r"'x' has shape \[1, 4, 4, 4\], but the model declares"
    ):
        CompiledPartition(dynamic_partition()).program([(1, 4, 4, 4)])


def test_a_node_without_support_is_named() -> None:
    with pytest.raises(CompileError, match=r"unit 'Conv\(cy_\)'.*declined: not-registered"):
        CompiledPartition(dynamic_partition(), operators=Registry({}))


def test_a_lowering_that_fails_is_named_with_its_plugin() -> None:
    def fail(unit: object, builder: object) -> None:
        raise KeyError("scale")

    data = model("y = QuantizeLinear(x, s, z)", "float[2] x", "uint8[2] y")
    broken = OperatorSupport("QuantizeLinear", fail, owner="acme")
    partition = CompiledPartition(data, operators=Registry({("", "QuantizeLinear"): (broken,)}))
    with pytest.raises(
        InternalError, match=r"plugin 'acme' cannot lower unit .*: KeyError: 'scale'"
    ):
        partition.program()


def test_a_lowering_with_a_wrong_shape_is_named() -> None:
    def shrink(unit: Any, builder: Any) -> None:
        x = builder.value("x")
        builder.emit("Lookup", [x], (1,))

    data = model("y = QuantizeLinear(x, s, z)", "float[2] x", "uint8[2] y")
    broken = OperatorSupport("QuantizeLinear", shrink, owner="acme")
    partition = CompiledPartition(data, operators=Registry({("", "QuantizeLinear"): (broken,)}))
    with pytest.raises(InternalError, match=r"emits Lookup: output \[1\]: the operands give \[2\]"):
        partition.program()


def test_many_nodes_take_linear_time() -> None:
    def effort(count: int) -> int:
        lines = [
            f"a{i} = DequantizeLinear(v{i}, s, z)\nb{i} = Sigmoid(a{i})\n"
            f"v{i + 1} = QuantizeLinear(b{i}, s, z)"
            for i in range(count)
        ]
        data = model(
            "v0 = QuantizeLinear(x, s, z)\n" + "\n".join(lines), "float[2] x", f"uint8[2] v{count}"
        )

        def build() -> None:
            assert opcodes(CompiledPartition(data).build()) == ["QUANTIZE", "COPY"]

        return lines_run(build)

    effort(10)
    assert effort(600) < 4 * effort(200)


def test_partitions_of_a_model_compile() -> None:
    data = model(
        conv("x", "c") + "d = DequantizeLinear(c, s, z)\ny = LpPool <kernel_shape=[2,2]> (d)",
        "uint8[1,3,6,5] x",
        "float[1,4,5,4] y",
        conv_weights(4, 3, 3, 3),
    )
    (nodes,) = partition_model(data, Options(claim="all")).partitions
    proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data))
    part = extract(proto, nodes)
    assert {node.op_type for node in part.graph.node} >= {"Conv", "QuantizeLinear"}
    check(part.SerializeToString(), random_inputs((1, 3, 6, 5)))


WIDE_CONV = model(
    conv("x", "y"), "uint8[1,16,8,8] x", "uint8[1,16,8,8] y", conv_weights(16, 16, 3, 3)
)


@pytest.mark.parametrize(("target", "pes"), [("warboy", 1), ("warboy-2pe", 2)])
def test_a_program_carries_the_schedule_of_its_target(target: str, pes: int) -> None:
    program = Program.from_bytes(CompiledPartition(WIDE_CONV, scope=Scope(target)).program())
    schedule = program.schedule
    assert (schedule.target, schedule.pes, schedule.clock_hz) == (target, pes, 2_000_000_000)
    assert schedule.dram_bytes >= len(program.constants)
    computing = {one.command for one in schedule.events if one.engine == Engine.COMPUTE}
    assert {n for n, one in enumerate(program.commands) if one.opcode == "CONV"} <= computing


def test_without_the_target_the_schedule_is_empty() -> None:
    operators = dataclasses.replace(registry(), named=lambda _hook: {})
    program = Program.from_bytes(CompiledPartition(WIDE_CONV, operators).program())
    assert program.schedule == Schedule()

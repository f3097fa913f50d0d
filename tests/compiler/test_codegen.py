from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from furiosa_ep.compiler.codegen import generate
from furiosa_ep.compiler.errors import CompileError
from furiosa_ep.compiler.passes import optimize
from furiosa_ep.device_emulator import Executable, checksum, run_reference
from furiosa_ep.graph import DeviceGraph
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.registry import Scope
from furiosa_ep.program import DType, Program, Storage
from tests.compiler.device_graphs import BLEND_STRIDED, PARAMS, Maker, random_graph
from tests.compiler.interpreter import interpret


def inputs_of(graph: DeviceGraph, seed: int = 0) -> list[npt.NDArray[Any]]:
    random = np.random.default_rng(seed)
    return [
        random.normal(0, 4, one.shape).astype(np.float32)
        if one.dtype == DType.F32
        else random.integers(0, 256, one.shape, np.uint8).view(one.dtype.numpy)
        for one in graph.inputs
    ]


def compiled(graph: DeviceGraph) -> Program:
    """The Program of a graph."""
    return generate(
        graph,
        [f"i{i}" for i in range(len(graph.inputs))],
        [f"o{i}" for i in range(len(graph.outputs))],
    )


def check(graph: DeviceGraph, *, optimized: bool = False) -> Program:
    """The Program of a graph, which must compute what the graph says."""
    inputs = inputs_of(graph)
    expected = interpret(graph, inputs)
    if optimized:
        optimize(graph, registry().passes, Scope(), verify_each=True)
    program = compiled(graph)
    for own, want in zip(run_reference(program, inputs), expected, strict=True):
        np.testing.assert_array_equal(own, want)
    native = Executable(program.to_bytes(checksum)).run(inputs)
    for own, want in zip(native, expected, strict=True):
        np.testing.assert_array_equal(own, want)
    return program


def opcodes(program: Program) -> Counter[str]:
    return Counter(command.opcode for command in program.commands)


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_random_graphs(first: int, optimized: bool) -> None:
    for seed in range(first, first + 50):
        check(random_graph(seed), optimized=optimized)


def test_concat_is_written_in_place() -> None:
    m = Maker()
    x = m.input(1, 3, 6, 5)
    inner = m.concat(m.conv(x, 4), m.conv(x, 2), axis=1)
    y = m.conv(
        m.concat(inner, m.max_pool(m.pad(m.conv(x, 3), [0, 0, 0, 0, 0, 0, 1, 1])), axis=1), 2
    )
    program = check(m.output(m.max_pool(y)))
    # One copy turns the NCHW input round, one the NHWC result.
    assert opcodes(program) == {"COPY": 2, "CONV": 4, "MAX_POOL": 2, "FILL": 2}


def test_concat_of_all_slices_of_a_value_and_more_is_written_in_place() -> None:
    m = Maker()
    x = m.conv(m.input(1, 3, 4, 4), 6)
    left, right = m.slice(x, 1, 0, 3), m.slice(x, 1, 3, 3)
    y = m.conv(m.concat(left, right, m.conv(right, 2), axis=1), 4)
    program = check(m.output(m.slice(y, 2, 0, 1)))
    assert opcodes(program) == {"COPY": 2, "CONV": 3}


def test_concat_copies_what_it_cannot_place() -> None:
    m = Maker()
    x = m.input(2, 3)
    y = m.lookup(x)
    program = check(m.output(m.concat(x, y, y, m.slice(y, 1, 0, 2), axis=1), y))
    assert opcodes(program)["COPY"] == 5  # the lookup, x, y twice (an output of its own), the slice


def test_movements_are_views() -> None:
    m = Maker()
    x = m.input(2, 3, 4, 6)
    y = m.transpose(m.reshape(m.slice(x, 3, 1, 2, 2), 2, 12, 2), 2, 0, 1)
    program = check(m.output(m.lookup(m.emit("Expand", m.reshape(y, 2, 1, 24), shape=(2, 3, 24)))))
    assert opcodes(program) == {"COPY": 1}


def test_flattening_pixels_of_one_image_is_a_view() -> None:
    m = Maker()
    x = m.conv(m.input(1, 3, 4, 5), 6)
    pixels = m.lookup(m.reshape(x, 1, 6, 20))
    channels = m.lookup(m.reshape(m.slice(m.slice(x, 2, 0, 1), 3, 0, 1), 1, 6))
    program = check(m.output(pixels, channels))
    assert opcodes(program) == {"COPY": 3, "CONV": 1}


def test_results_are_written_to_outputs() -> None:
    m = Maker()
    x = m.input(2, 3, 4, 4, dtype=DType.F32)
    y = m.conv(m.emit("Quantize", x, params=PARAMS), 5)
    rows = m.reshape(m.transpose(y, 0, 2, 3, 1), 2, 16, 5)
    real = m.emit("Dequantize", y, dtype=DType.F32, params=PARAMS)
    program = check(m.output(real, rows))
    assert [command.opcode for command in program.commands] == ["QUANTIZE", "CONV", "DEQUANTIZE"]
    assert {program.tensors[c.operands[-1] or 0].storage for c in program.commands[1:]} == {
        Storage.OUTPUT
    }


def test_outputs_that_are_inputs_constants_or_one_value() -> None:
    m = Maker()
    x = m.input(2, 3)
    real = m.input(2, 2, dtype=DType.F32)
    words = m.constant(np.arange(6, dtype=np.int32).reshape(2, 3))
    y = m.lookup(x)
    m.output(x, m.reshape(x, 6), y, y, real, m.transpose(real, 1, 0), words)
    graph = m.graph
    graph.operations[-1].outputs[0].dtype = DType.F32
    check(graph)


def test_pad_and_values_without_elements() -> None:
    m = Maker()
    x, empty = m.input(2, 3), m.input(0, 3)
    program = check(
        m.output(
            m.concat(m.lookup(x), m.lookup(empty), axis=0),
            m.pad(empty, [1, 0, 1, 2], 9),
            m.add(empty, empty),
            m.pad(x, [0, 0, 0, 0]),
        )
    )
    assert "ADD" not in opcodes(program)


def test_a_view_with_too_many_dims_is_refused() -> None:
    m = Maker()
    x = m.input(*(2,) * 8)
    wide = m.emit("Expand", m.reshape(x, *(2,) * 4, 1, *(2,) * 4), shape=(2,) * 4 + (3,) + (2,) * 4)
    turned = m.lookup(m.transpose(wide, *range(8, -1, -1)))
    graph = m.output(m.reshape(turned, 3 * 256))
    with pytest.raises(CompileError, match="expected at most 8"):
        check(graph)


def test_operands_of_a_row_major_kernel_are_copied() -> None:
    m = Maker()
    image = m.conv(m.input(1, 3, 4, 4), 6)
    program = check(m.output(m.conv(m.blend(image, m.input(1, 6, 4, 4)), 2)))
    # The first and the last copy are for the convolutions, and turn their operand and result.
    assert [one.opcode for one in program.commands] == [
        *["COPY", "CONV", "COPY", "CALL"],
        *["COPY", "CONV", "COPY"],
    ]


def test_operands_of_a_strided_kernel_stay() -> None:
    m = Maker()
    image = m.conv(m.input(1, 3, 4, 4), 6)
    turned = m.transpose(m.input(1, 4, 4, 6), 0, 3, 1, 2)
    program = check(m.output(m.max_pool(m.blend(image, turned, BLEND_STRIDED))))
    assert opcodes(program) == {"COPY": 2, "CONV": 1, "CALL": 1, "MAX_POOL": 1}


def test_result_of_a_kernel_encloses_no_operand() -> None:
    m = Maker()
    x = m.conv(m.input(1, 3, 4, 4), 6)
    y = m.blend(x, kernel=BLEND_STRIDED)
    # Both would lie in the result of Concat, pixel by pixel one beside the other.
    program = check(m.output(m.conv(m.concat(x, y, axis=1), 2)))
    assert opcodes(program) == {"COPY": 3, "CONV": 2, "CALL": 1}


def test_result_of_a_kernel_is_written_in_place() -> None:
    m = Maker()
    x = m.lookup(m.input(2, 8))
    program = check(m.output(m.concat(m.blend(x), m.blend(x, kernel=BLEND_STRIDED), axis=0)))
    assert opcodes(program) == {"COPY": 1, "CALL": 2}

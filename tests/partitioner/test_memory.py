"""What does not fit into the memories of the target is declined, and all else is not."""

import dataclasses
import re

import numpy as np
import onnx
import onnx.parser
import onnx.shape_inference
import pytest
from onnx import numpy_helper

from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.compiler.errors import CompileError
from furiosa_ep.compiler.limits import schedule
from furiosa_ep.device_emulator.target import WARBOY, Target
from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.memory import partition_decline, unit_decline
from furiosa_ep.partitioner.partition import partition_graph
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.registry import Registry, Scope
from furiosa_ep.partitioner.report import Report
from furiosa_ep.partitioner.support import DeclineCode, NodeUnit
from furiosa_ep.partitioner.units import node_units

SRAM = 16 << 20
CONSTANTS = """float s = {0.1}, float t = {0.00390625}, uint8 z = {0}, float[4] ws = {1, 1, 1, 1},
    int8[4] wz = {0, 0, 0, 0}"""


def model(
    operator: str, shape: str, weights: str = "", result: str = "s", opset: int = 17
) -> bytes:
    """One operator as a QDQ group; `weights` is the shape of a constant w."""
    dequantized = "wd = DequantizeLinear<axis = 0>(w, ws, wz)" if weights else ""
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]> g (uint8[{shape}] x) => (uint8 y)
      <{CONSTANTS}> {{ a = DequantizeLinear(x, s, z) {dequantized} b = {operator}
      y = QuantizeLinear(b, {result}, z) }}"""
    proto = onnx.parser.parse_model(text)
    if weights:
        dims = [int(dim) for dim in weights.split(",")]
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(dims, np.int8), "w"))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return bytes(onnx.shape_inference.infer_shapes(proto).SerializeToString())


def report(proto: bytes, target: str = "warboy") -> Report:
    return partition_graph(
        Graph.from_bytes(proto), registry(), claim="all", scope=Scope(target=target)
    )


@pytest.mark.parametrize(
    ("operator", "most"),
    [
        ("Softmax<axis = 1>(a)", SRAM // 2),
        ("LpNormalization<axis = 1>(a)", SRAM // 2),
        ("ReduceSum<keepdims = 1>(a)", SRAM),
        ("ReduceMax<axes = [1]>(a)", SRAM),
    ],
)
def test_what_a_result_depends_on_must_fit_into_sram(operator: str, most: int) -> None:
    opset = 17 if "axes" not in operator else 13
    result = "t" if "Softmax" in operator else "s"
    fits, large = (model(operator, f"1, {n}", "", result, opset) for n in (most, most + 1))
    assert report(fits).partitions
    (unit,) = report(large).units
    assert unit.decline is not None
    assert unit.decline.code is DeclineCode.MEMORY_LIMIT
    needed = (most + 1) * (SRAM // most)
    found = f"SRAM of the target: {SRAM} bytes of warboy. Found: {needed} bytes."
    assert found in unit.decline.reason
    assert unit.decline.mend
    assert report(large, "warboy-2pe").partitions


def units(proto: bytes) -> tuple[Graph, list[NodeUnit]]:
    graph = Graph.from_bytes(proto)
    return graph, list(node_units(graph))


@pytest.mark.parametrize(
    ("operator", "shape", "weights", "tile"),
    [
        ("Conv(a, wd)", "1, 6, 99, 99", "4, 6, 3, 5", 90 * 32 + 90 * 4 + 32 * 4),
        ("Conv(a, wd)", "1, 6, 9, 9", "4, 6, 3, 5", 6 * 81 + 90 * 4 + 32 * 4),
        ("Conv<group = 2>(a, wd)", "1, 6, 99, 99", "4, 3, 3, 3", 27 * 32 + 27 * 2 + 32 * 2),
        ("ConvTranspose(a, wd)", "1, 4, 99, 99", "4, 3, 2, 2", 4 * 32 + 4 * 4 + 32 * 4),
        ("Gemm<transB = 1>(a, wd)", "50, 70", "4, 70", 70 * 32 + 70 * 4 + 32 * 4),
        ("MatMul(a, wd)", "5, 4", "4, 9", 20 + 4 * 4 + 32 * 4),
        ("Gemm<transA = 1>(a, wd)", "4, 9", "4, 9", 36 + 4 * 4 + 32 * 4),
        ("MatMul(a, a)", "2, 50, 50", "", 50 * 32 + 50 * 4 + 32 * 4),
        ("MatMul(a, a)", "9, 9", "", 2 * 81 + 9 * 4 + 32 * 4),
        ("GlobalAveragePool(a)", "1, 2, 7, 9", "", 63),
        ("GlobalMaxPool(a)", "1, 2, 70, 90", "", 2 * 6300 + 6300 + 32),
        ("ReduceSum<keepdims = 0>(a)", "20, 30", "", 600),
        ("MaxPool<kernel_shape = [3, 5]>(a)", "1, 2, 77, 99", "", 15 * 32 + 15 + 32),
        ("Softmax<axis = 1>(a)", "2, 7, 9", "", 14),
        ("Relu(a)", "1, 200000", "", 0),
    ],
)
def test_the_smallest_tile(operator: str, shape: str, weights: str, tile: int) -> None:
    graph, found = units(model(operator, shape, weights))
    (unit,) = (one for one in found if one.node.op_type in operator)
    for room in {tile, max(tile - 1, 0)}:
        decline = unit_decline(unit, graph, Target("t", sram_bytes=room))
        assert (decline is None) == (room >= tile)
        if decline is not None:
            assert f"Found: {tile} bytes" in decline.reason
    if tile:
        assert unit_decline(unit, graph, Target("t", pes=2, sram_bytes=-(-tile // 2))) is None


def test_what_is_taken_fits_when_it_is_compiled() -> None:
    for operator, shape, weights in (
        ("Conv(a, wd)", "1, 6, 99, 99", "4, 6, 3, 5"),
        ("Conv<group = 2>(a, wd)", "1, 6, 9, 9", "4, 3, 3, 3"),
        ("ConvTranspose<group = 2>(a, wd)", "1, 4, 99, 99", "4, 3, 2, 2"),
        ("Gemm<transB = 1>(a, wd)", "50, 70", "4, 70"),
        ("MatMul(a, a)", "2, 50, 50", ""),
        ("GlobalAveragePool(a)", "1, 2, 7, 9", ""),
        ("GlobalMaxPool(a)", "1, 2, 70, 90", ""),
        ("MaxPool<kernel_shape = [3, 5]>(a)", "1, 2, 77, 99", ""),
        ("Softmax<axis = 2>(a)", "2, 7, 9", ""),
        ("ReduceSum<keepdims = 1>(a)", "2, 50", ""),
        ("ReduceSum<keepdims = 0>(a)", "20, 30", ""),
    ):
        proto = model(operator, shape, weights, "t" if "Softmax" in operator else "s")
        graph, found = units(proto)
        (unit,) = (one for one in found if one.node.op_type in operator)
        decline = unit_decline(unit, graph, Target("t", sram_bytes=0))
        assert decline is not None
        (tile,) = re.findall(r"Found: (\d+) bytes", decline.reason)
        program = CompiledPartition(graph.part({node.index for node in graph.nodes})).build()
        enough = Target("t", sram_bytes=max(64, int(tile)))
        schedule(program, enough)


def test_what_the_timing_model_cannot_place_is_told_as_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = dataclasses.replace(WARBOY, sram_bytes=2000)
    monkeypatch.setattr(Registry, "target", lambda *_: small)
    partition = CompiledPartition(model("MatMul(a, a)", "N, N"))
    partition.build([[9, 9]])
    with pytest.raises(CompileError, match=r"memory-limit: .*MatMul.* there are 2000"):
        partition.build([[99, 99]])


def test_the_compiler_agrees_on_the_tile() -> None:
    for operator, shape, weights, tile in (
        ("GlobalAveragePool(a)", "1, 2, 7, 9", "", 63),
        ("Softmax<axis = 2>(a)", "2, 7, 9", "", 18),
        ("ReduceSum<keepdims = 1>(a)", "2, 50", "", 100),
    ):
        proto = model(operator, shape, weights, "t" if "Softmax" in operator else "s")
        graph = Graph.from_bytes(proto)
        program = CompiledPartition(graph.part({node.index for node in graph.nodes})).build()
        schedule(program, Target("t", sram_bytes=tile))
        with pytest.raises(CompileError, match=f": .* takes {tile} bytes .* are {tile - 1} on"):
            schedule(program, Target("t", sram_bytes=tile - 1))


def test_operands_must_fit_into_dram() -> None:
    huge = 1 << 17
    (unit,) = report(model("Relu(a)", f"1, {huge}, {huge}")).units
    assert unit.decline is not None
    assert unit.decline.code is DeclineCode.MEMORY_LIMIT
    assert (
        f"DRAM of the target: {16 << 30} bytes of warboy. Found: {2 << 34}" in unit.decline.reason
    )


def test_weights_must_fit_into_dram() -> None:
    graph, found = units(model("Conv(a, wd)", "1, 6, 9, 9", "4, 6, 3, 5"))
    enough = dataclasses.replace(WARBOY, dram_bytes=360)
    assert partition_decline(found, graph, enough) is None
    decline = partition_decline(found, graph, dataclasses.replace(WARBOY, dram_bytes=359))
    assert decline is not None
    assert decline.code is DeclineCode.MEMORY_LIMIT
    assert "Found: 360 bytes" in decline.reason


def test_open_shapes_are_checked_when_they_are_known() -> None:
    partition = CompiledPartition(model("Softmax<axis = 1>(a)", "1, N", result="t"))
    partition.build([[1, SRAM // 2]])
    with pytest.raises(CompileError, match=r"memory-limit: .*Softmax.* 16777218 bytes of SRAM"):
        partition.build([[1, SRAM // 2 + 1]])


def test_inputs_must_fit_into_dram_when_they_are_known() -> None:
    partition = CompiledPartition(model("Relu(a)", "1, N, N"))
    with pytest.raises(
        CompileError, match=r"memory-limit: .*inputs and outputs \(34359738368 byte"
    ):
        partition.build([[1, 1 << 17, 1 << 17]])

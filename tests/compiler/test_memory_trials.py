"""What does not fit when it is compiled is declined while a session's graph is partitioned."""

import logging
import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from furiosa_ep.compiler import driver
from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.device_emulator import register_kernel
from furiosa_ep.device_emulator.target import Target
from furiosa_ep.graph import DeviceGraph, DeviceValue, Graph, Operation
from furiosa_ep.kernels.kernel import Kernel, KernelCost, KernelFrame
from furiosa_ep.options import Options
from furiosa_ep.partitioner import partition
from furiosa_ep.partitioner.descriptors import GraphPass, PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.operators.calling import kernel_lowering
from furiosa_ep.partitioner.operators.rules import UNARY
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import Registry, Scope
from furiosa_ep.partitioner.report import Report, UnitRow
from furiosa_ep.partitioner.support import Builder, DeclineCode, NodeUnit, OperatorSupport
from tests.compiler.plugin_passes import MODEL as PASSES_MODEL
from tests.compiler.plugin_passes import PassPlugin
from tests.compiler.test_driver import model
from tests.random_graphs import random_model

BODY = """a = DequantizeLinear(x, s, z)
    b = Det3(a)
    c = QuantizeLinear(b, s, z)
    g = DequantizeLinear(c, s, z)
    h = Tanh(g)
    y = QuantizeLinear(h, t, z)"""
"""An operator that nobody knows, and one that everybody does."""
SRAM = 16 << 20
NAME = 13
"""The bytes by which a call names its kernel, `ACME_INVERT_A`."""
_LETTERS = iter(string.ascii_uppercase)
Shapes = Sequence[tuple[int, ...] | None]


def inverse(frame: KernelFrame) -> None:
    x, y = frame.inputs[0], frame.output
    assert x is not None
    y.array[...] = 255 - x.array


class Plugin:
    """Det3 by a kernel that costs what is said, and devices with little memory."""

    def __init__(
        self,
        cost: Callable[[Shapes], KernelCost] | None = None,
        lower: Callable[[NodeUnit, Builder], None] | None = None,
        *targets: Target,
    ) -> None:
        opcode = f"ACME_INVERT_{next(_LETTERS)}" if cost else "ACME_INVERT_"
        kernel = Kernel(opcode, "x:u8 -> y:u8", inverse, cost=cost)
        register_kernel(kernel, "any")
        lower = lower or kernel_lowering(opcode)
        support = OperatorSupport("Det3", lower, UNARY, kernels=(opcode,))
        self._found: dict[str, Sequence[Any]] = {
            "kernels": [kernel],
            "operators": [support],
            "targets": targets,
        }

    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return PluginInfo("any", "1.0")

    @hookimpl
    def furiosa_kernels(self) -> Sequence[Any]:
        return self._found["kernels"]

    @hookimpl
    def furiosa_operators(self) -> Sequence[Any]:
        return self._found["operators"]

    @hookimpl
    def furiosa_targets(self) -> Sequence[Any]:
        return self._found["targets"]


def proto(body: str, shape: str, outputs: str = "") -> bytes:
    """A model with the shapes of all 8-bit values, which are that of its input."""
    borders = f"uint8[{shape}] x", outputs or f"uint8[{shape}] y"
    made = onnx.load_model_from_string(model(body, *borders))
    del made.graph.value_info[:]
    results = {one.name for one in made.graph.output}
    for node in made.graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] not in results:
            info = made.graph.value_info.add()
            info.CopyFrom(made.graph.input[0])
            info.name = node.output[0]
    return bytes(made.SerializeToString())


def decide(
    plugin: Plugin,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    scope: Scope | None = None,
) -> tuple[Report, Registry, Scope]:
    registry = build_registry({"acme": plugin})
    monkeypatch.setattr(partition, "registry", lambda: registry)
    scope = scope or Scope(python_kernels=True)
    return driver.partition_model(data, Options(claim="all"), scope), registry, scope


def compile_all(data: bytes, report: Report, registry: Registry, scope: Scope) -> int:
    """Compiles what was claimed, as a session does; the DRAM of all of it."""
    graph = Graph.from_bytes(data)
    parts = [graph.part(set(nodes)) for nodes in report.partitions]
    return sum(
        CompiledPartition(part, registry, scope).build().schedule.dram_bytes for part in parts
    )


def row(report: Report, op_type: str) -> UnitRow:
    return next(one for one in report.units if one.op_type == op_type)


def test_a_kernel_that_costs_too_much_is_declined_and_its_plugin_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = 20 << 20
    data = proto(BODY, str(size))
    report, registry, scope = decide(
        Plugin(lambda shapes: KernelCost(macs=size << 20)), monkeypatch, data
    )
    decline = row(report, "Det3").decline
    assert decline is not None
    assert decline.code is DeclineCode.MEMORY_LIMIT
    assert f"Det3(b): the smallest tile takes {size + NAME + 128} bytes of SRAM" in decline.reason
    assert f"there are {SRAM} on target warboy" in decline.reason
    assert decline.mend
    assert row(report, "Tanh").claim is not None
    assert not scope.quarantine
    assert compile_all(data, report, registry, scope)
    assert not caplog.records


def test_a_kernel_at_the_limit_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    data = proto(BODY, "2, 30")
    needed = 60 + NAME + 60  # all that it reads and writes
    for sram in (needed, needed - 1):
        plugin = Plugin(
            lambda shapes: KernelCost(macs=60 << 20),
            None,
            Target("tiny", sram_bytes=sram),
        )
        scope = Scope("tiny", python_kernels=True)
        report, registry, _ = decide(plugin, monkeypatch, data, scope)
        assert (row(report, "Det3").decline is None) == (sram == needed)
        compile_all(data, report, registry, scope)


@pytest.mark.parametrize(
    "cost",
    [
        lambda shapes: KernelCost(operations=10**30),
        lambda shapes: KernelCost(macs=-(10**30)),
        lambda shapes: KernelCost(macs=10**30),
        lambda shapes: KernelCost(math.nan),  # type: ignore[arg-type]
        lambda shapes: None,
        lambda shapes: 1 // 0,
    ],
)
def test_a_cost_that_makes_no_sense_leaves_the_plugin_out(
    cost: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = proto(BODY, "2, 3")
    report, registry, scope = decide(Plugin(cost), monkeypatch, data)
    decline = row(report, "Det3").decline
    assert decline is not None
    assert decline.code in (DeclineCode.PLUGIN_ERROR, DeclineCode.MEMORY_LIMIT)
    assert row(report, "Tanh").claim is not None
    compile_all(data, report, registry, scope)
    assert all(one.levelno == logging.WARNING for one in caplog.records)


def test_operands_that_are_too_large_are_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    data = proto(BODY, f"{1 << 17}, {1 << 17}")
    report, *_ = decide(Plugin(), monkeypatch, data)
    decline = row(report, "Det3").decline
    assert decline is not None
    assert decline.code is DeclineCode.MEMORY_LIMIT
    assert f"Found: {2 << 34} bytes" in decline.reason


def test_what_a_lowering_adds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower(unit: NodeUnit, builder: Builder) -> None:
        x = builder.value(unit.inputs[0])
        large = builder.constant(np.zeros((2, 3000), np.uint8))
        both = builder.emit("Concat", [x, large], (2, 3003), axis=1)
        y = builder.emit("Slice", [both], x.shape, starts=(0, 0), steps=(1, 1))
        builder.set(unit.outputs[0], y)

    plugin = Plugin(None, lower, Target("tiny", dram_bytes=3000))
    scope = Scope("tiny", python_kernels=True)
    report, *_ = decide(plugin, monkeypatch, proto(BODY, "2, 3"), scope)
    decline = row(report, "Det3").decline
    assert decline is not None
    assert decline.code is DeclineCode.MEMORY_LIMIT
    assert "3000 bytes of DRAM of target tiny" in decline.reason


def many_alive(count: int) -> str:
    """As many values as `count`, all of which are there until the last one is: one by one they are
    added to the result, the last one first."""
    lines, value = [], "x"
    for n in range(count):
        lines.append(f"d{n} = DequantizeLinear({value}, t, z)")
        lines.append(f"t{n} = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(d{n})")
        lines.append(f"v{n} = QuantizeLinear(t{n}, t, z)")
        value = f"v{n}"
    for n in reversed(range(count - 1)):
        lines.append(f"e{n} = DequantizeLinear({value}, t, z)")
        lines.append(f"f{n} = DequantizeLinear(v{n}, t, z)")
        lines.append(f"g{n} = Add(e{n}, f{n})")
        value = f"w{n}" if n else "y"
        lines.append(f"{value} = QuantizeLinear(g{n}, t, z)")
    return "\n".join(lines)


@pytest.mark.parametrize("dram", [1 << 20, 100_000, 60_000, 30_000, 9_000, 2_000])
def test_partitions_take_no_more_dram_than_there_is(
    dram: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = proto(many_alive(20), "1, 1, 64, 64")
    target = Target("tiny", sram_bytes=4096, dram_bytes=dram)
    scope = Scope("tiny", python_kernels=True)
    report, registry, _ = decide(Plugin(None, None, target), monkeypatch, data, scope)
    taken = compile_all(data, report, registry, scope)
    declined = [one.decline for one in report.units if one.decline]
    assert taken <= dram
    assert bool(declined) == (dram < 90_000)
    if 9_000 < dram < 90_000:  # much of it is used
        assert taken > dram / 2
    assert {one.code for one in declined} <= {DeclineCode.MEMORY_LIMIT}
    for one in declined:
        assert f"{dram} bytes of tiny. Found: " in one.reason
        assert one.mend
    assert not caplog.records


def test_partitions_share_the_dram(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two, each of which fits alone, the second one is declined."""
    body = """a = DequantizeLinear(x, s, z)
        b = Tanh(a)
        c = QuantizeLinear(b, t, z)
        d = DequantizeLinear(c, t, z)
        e = Erf2(d)
        f = QuantizeLinear(e, t, z)
        g = DequantizeLinear(f, t, z)
        h = Tanh(g)
        y = QuantizeLinear(h, t, z)"""
    data = proto(body, "1, 4096")
    for dram, parts in ((17_000, 2), (16_000, 1)):
        plugin = Plugin(None, None, Target("tiny", dram_bytes=dram))
        scope = Scope("tiny")
        report, registry, _ = decide(plugin, monkeypatch, data, scope)
        assert len(report.partitions) == parts
        assert compile_all(data, report, registry, scope) <= dram
    last = report.units[-1].decline
    assert last is not None
    assert last.code is DeclineCode.MEMORY_LIMIT
    assert "Partitions before it take 84" in last.reason


def test_open_shapes_are_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = proto(many_alive(3), "N, 1, 64, 64")
    scope = Scope("tiny")
    plugin = Plugin(None, None, Target("tiny", dram_bytes=9000))
    report, *_ = decide(plugin, monkeypatch, data, scope)
    assert len(report.partitions) == 1


def test_passes_of_a_plugin_that_take_too_much_memory_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def there_and_back(graph: DeviceGraph) -> None:
        """Repeats the channels of what is looked up, and forgets the copies."""
        (lookup,) = (one for one in graph.operations if one.kind == "Lookup")
        (x,) = lookup.inputs
        assert x is not None
        at = graph.operations.index(lookup)
        for count in (x.shape[1] * 5000, x.shape[1]):
            shape = (x.shape[0], count, *x.shape[2:])
            copies = DeviceValue(f"copies{count}", x.dtype, shape, signed=x.signed)
            indices = np.arange(count, dtype=np.int32) % lookup.output.shape[1]
            attributes = {"axis": 1, "indices": indices}
            graph.operations.insert(at, Operation("Gather", [x], [copies], attributes, "copies"))
            x, at = copies, at + 1
        lookup.inputs = [x]

    class Targets(PassPlugin):
        @hookimpl
        def furiosa_targets(self) -> Sequence[Target]:
            return [Target("tiny", dram_bytes=50_000)]

    registry = build_registry({"acme": Targets(GraphPass("copies", there_and_back))})
    roomy, tiny = Scope(), Scope("tiny")
    copying = CompiledPartition(PASSES_MODEL, registry, roomy).build()
    assert copying.schedule.dram_bytes > 50_000
    assert not roomy.without_passes
    assert CompiledPartition(PASSES_MODEL, registry, tiny).build().schedule.dram_bytes < 50_000
    assert "50000 bytes of DRAM of target tiny" in tiny.without_passes["acme"]
    assert [one.levelno for one in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("sram", [40, 130, 500, 2000, SRAM])
def test_what_is_claimed_of_random_models_fits(sram: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    for seed in range(60):
        dram = (200, 1000, 4000, 20_000)[seed % 4]
        proto, _ = random_model(seed)
        data = bytes(onnx.shape_inference.infer_shapes(proto).SerializeToString())
        plugin = Plugin(None, None, Target("tiny", sram_bytes=sram, dram_bytes=dram))
        report, registry, scope = decide(plugin, monkeypatch, data, Scope("tiny"))
        assert compile_all(data, report, registry, scope) <= dram
        taken += len(report.partitions)
    assert taken > 10

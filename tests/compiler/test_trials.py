"""What plugins cannot lower after all is noticed while a session's graph is partitioned."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from furiosa_ep.compiler import driver
from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.device_emulator import Executable
from furiosa_ep.graph import Graph, QuantParams
from furiosa_ep.options import Options
from furiosa_ep.partitioner import partition
from furiosa_ep.partitioner.descriptors import CostModel, Lowering, PartitionSelection, PluginInfo
from furiosa_ep.partitioner.environment import BUILT_IN, STRICT
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.operators.rules import UNARY
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import PluginError, Registry, Scope
from furiosa_ep.partitioner.report import Report, UnitRow
from furiosa_ep.partitioner.support import Builder, DeclineCode, NodeUnit, OperatorSupport
from furiosa_ep.program import DType
from tests.compiler.test_driver import model, random_inputs

Lower = Callable[[NodeUnit, Builder], None]
SHAPE = (2, 3)
STATIC = "uint8[2,3] x", "uint8[2,3] y"
OPEN = "uint8[N,3] x", "uint8[N,3] y"
BODY = """a = DequantizeLinear(x, s, z)
    b = Det3(a)
    c = QuantizeLinear(b, s, z)
    d = DequantizeLinear(c, s, z)
    e = Det4(d)
    f = QuantizeLinear(e, s, z)
    g = DequantizeLinear(f, s, z)
    h = Tanh(g)
    y = QuantizeLinear(h, t, z)"""
"""Two operators that nobody knows, and one that everybody does."""


class Plugin:
    """Takes Det3 and Det4."""

    def __init__(self, lower: Lower, *more: Any) -> None:
        self._supports = [OperatorSupport(one, lower, UNARY) for one in ("Det3", "Det4")]
        self._more = more

    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return PluginInfo("any", "1.0")

    @hookimpl
    def furiosa_operators(self) -> Sequence[OperatorSupport]:
        more = [one for one in self._more if isinstance(one, OperatorSupport)]
        return [*self._supports, *more]

    @hookimpl
    def furiosa_lowerings(self) -> Sequence[Lowering]:
        return [one for one in self._more if isinstance(one, Lowering)]


def good(unit: NodeUnit, builder: Builder) -> None:
    x = builder.value(unit.inputs[0])
    y = builder.emit("Transpose", [x], x.shape[::-1], perm=(1, 0))
    z = builder.emit("Reshape", [y], x.shape, signed=x.signed)
    builder.set(unit.outputs[0], z)


def _emits(**changes: Any) -> Lower:
    """Emits an Expression with other attributes than it needs."""

    def lower(unit: NodeUnit, builder: Builder) -> None:
        x, params = builder.value(unit.inputs[0]), unit.outputs[0].params
        attributes = {"params": (params,), "y_params": params, "code": ((0, 0),), **changes}
        y = builder.emit("Expression", [x], x.shape, **attributes)
        builder.set(unit.outputs[0], y)

    return lower


def _raises(unit: NodeUnit, builder: Builder) -> None:
    raise KeyError("scale")


def _exits(unit: NodeUnit, builder: Builder) -> None:
    sys.exit(1)


def _cannot(unit: NodeUnit, builder: Builder) -> None:
    raise CompileError("not today")


def _sets_nothing(unit: NodeUnit, builder: Builder) -> None:
    builder.value(unit.inputs[0])


def _wrong_shape(unit: NodeUnit, builder: Builder) -> None:
    x = builder.value(unit.inputs[0])
    builder.set(unit.outputs[0], builder.emit("Transpose", [x], x.shape[::-1], perm=(1, 0)))


def _wrong_sign(unit: NodeUnit, builder: Builder) -> None:
    x = builder.value(unit.inputs[0])
    builder.set(unit.outputs[0], builder.emit("Reshape", [x], x.shape, signed=True))


def _wrong_type(unit: NodeUnit, builder: Builder) -> None:
    x, params = builder.value(unit.inputs[0]), unit.outputs[0].params
    y = builder.emit("Dequantize", [x], x.shape, DType.F32, params=params)
    builder.set(unit.outputs[0], y)


def _unknown_kind(unit: NodeUnit, builder: Builder) -> None:
    x = builder.value(unit.inputs[0])
    builder.set(unit.outputs[0], builder.emit("Dance", [x], x.shape))


def _table(unit: NodeUnit, builder: Builder) -> None:
    """Asks ONNX Runtime for an operator that it does not know either."""
    x = builder.value(unit.inputs[0])
    y = builder.emit("Lookup", [x], x.shape, table=builder.table(unit))
    builder.set(unit.outputs[0], y)


BROKEN: dict[str, tuple[Lower, str]] = {
    "raises": (_raises, "KeyError: 'scale'"),
    "exits": (_exits, "SystemExit: 1"),
    "cannot": (_cannot, "CompileError: not today"),
    "sets nothing": (_sets_nothing, "InternalError: .*which no unit before it sets"),
    "wrong shape": (_wrong_shape, r"has shape \[3, 2\], but the model declares"),
    "unknown kind": (_unknown_kind, "unknown kind"),
    "missing attribute": (_emits(code=None), "attribute 'code' is missing"),
    "wrong attribute": (
        _emits(y_params=QuantParams(np.float32(1), 900, False)),
        "attribute 'y_params' is",
    ),
    "refused code": (_emits(code=((0, 2),)), "ProgramError: EXPRESSION"),
    "wrong sign": (_wrong_sign, "'c' is int8, but the model declares uint8"),
    "wrong type": (_wrong_type, "'c' is float, but the model declares uint8"),
    "no table": (_table, "CPU provider cannot evaluate it"),
}


def partitioned(
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    scope: Scope | None = None,
    body: str = BODY,
    border: tuple[str, str] = STATIC,
) -> Report:
    """What the provider is told of a model of two unknown operators."""
    monkeypatch.setattr(partition, "registry", lambda: registry)
    return driver.partition_model(unchecked(body, border), Options(claim="all"), scope)


def unchecked(body: str = BODY, border: tuple[str, str] = STATIC) -> bytes:
    """A model with the shapes of all 8-bit values, as ONNX Runtime shows it."""
    proto = onnx.load_model_from_string(model(body, *border))
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] != "y":
            info = proto.graph.value_info.add()
            info.CopyFrom(proto.graph.input[0])
            info.name = node.output[0]
    return bytes(proto.SerializeToString())


def rows(report: Report) -> dict[str, UnitRow]:
    return {row.op_type: row for row in report.units}


@pytest.mark.parametrize("what", BROKEN)
def test_a_plugin_that_cannot_lower_what_it_claims_is_left_out(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lower, reason = BROKEN[what]
    scope = Scope()
    units = rows(partitioned(build_registry({"acme": Plugin(lower)}), monkeypatch, scope))
    for name in ("Det3", "Det4"):
        decline = units[name].decline
        assert decline is not None
        assert decline.code == DeclineCode.PLUGIN_ERROR
        assert "'acme'" in decline.reason
    assert units["Tanh"].claim is not None
    assert units["Tanh"].claim.plugin == BUILT_IN
    (record,) = caplog.records
    assert record.message.startswith(
        "plugin 'acme' is left out of this session: lowering of 'Det3(b)' failed: "
    )
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(scope.quarantine["acme"])


@pytest.mark.parametrize("what", BROKEN)
def test_strict_mode_raises(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRICT, "1")
    with pytest.raises(PluginError, match=r"plugin 'acme': lowering of 'Det3\(b\)' failed: "):
        partitioned(build_registry({"acme": Plugin(BROKEN[what][0])}), monkeypatch)


def test_a_plugin_that_can_is_taken_and_its_units_compile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = build_registry({"acme": Plugin(good)})
    report = partitioned(registry, monkeypatch)
    assert report.partitions == (tuple(range(9)),)
    assert {row.claim.plugin for row in report.units if row.claim} == {"acme", BUILT_IN}
    (x,) = random_inputs(SHAPE)
    (y,) = Executable(CompiledPartition(unchecked(), registry).program()).run([x])
    assert y.shape == SHAPE
    assert not caplog.records


def test_only_units_of_plugins_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def lower(unit: NodeUnit, builder: Builder) -> None:
        tried.append(unit.label)
        good(unit, builder)

    monkeypatch.setattr(driver, "lower_alone", lambda unit, *_: tried.append(unit.node.op_type))
    partitioned(build_registry({"acme": Plugin(lower)}), monkeypatch)
    assert tried == ["Det3", "Det4"]
    tried.clear()
    partitioned(build_registry({}), monkeypatch)
    assert not tried


def test_units_with_open_shapes_are_not_tried_and_fail_with_the_plugin_s_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = build_registry({"acme": Plugin(_raises)})
    report = partitioned(registry, monkeypatch, border=OPEN)
    assert report.partitions == (tuple(range(9)),)
    assert not caplog.records
    compiled = CompiledPartition(unchecked(border=OPEN), registry)
    with pytest.raises(InternalError, match=r"plugin 'acme' cannot lower unit 'Det3\(b\)'"):
        compiled.program([SHAPE])


def test_shapes_that_are_computed_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    body = """n = Shape(x)
        a = DequantizeLinear(x, s, z)
        b = Det3(a, n)
        y = QuantizeLinear(b, s, z)"""
    report = partitioned(build_registry({"acme": Plugin(_raises)}), monkeypatch, body=body)
    assert rows(report)["Det3"].decline is None


def test_an_override_that_fails_leaves_the_unit_to_the_built_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = OperatorSupport("Tanh", _raises, UNARY, priority=1)
    scope = Scope()
    report = partitioned(build_registry({"acme": Plugin(good, own)}), monkeypatch, scope)
    claim = rows(report)["Tanh"].claim
    assert claim is not None
    assert claim.plugin == BUILT_IN
    # What has been claimed by the plugin before is not any more.
    assert rows(report)["Det3"].decline is not None
    assert set(scope.quarantine) == {"acme"}


def test_another_lowering_that_fails_leaves_the_unit_to_the_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugins = {"acme": Plugin(good), "other": _Lowers(Lowering("Det3", _raises, priority=1))}
    scope = Scope()
    report = partitioned(build_registry(plugins), monkeypatch, scope)
    claim = rows(report)["Det3"].claim
    assert claim is not None
    assert claim.plugin == "acme"
    assert set(scope.quarantine) == {"other"}


class _Lowers:
    def __init__(self, lowering: Lowering) -> None:
        self._lowering = lowering

    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return PluginInfo("any", "1.0")

    @hookimpl
    def furiosa_lowerings(self) -> Sequence[Lowering]:
        return [self._lowering]


def test_a_value_that_only_the_rest_of_the_graph_makes_is_an_input_of_the_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[DType, bool]] = []

    def lower(unit: NodeUnit, builder: Builder) -> None:
        x = builder.value(unit.inputs[0])
        seen.append((x.dtype, x.signed))
        good(unit, builder)

    body = BODY.replace("s, z)", "s, sz)").replace("t, z)", "t, sz)")
    border = "int8[2,3] x", "int8[2,3] y"
    registry = build_registry({"acme": Plugin(lower)})
    partitioned(registry, monkeypatch, body=body, border=border)
    tried = list(seen)
    seen.clear()
    CompiledPartition(unchecked(body, border), registry).program()
    assert tried == seen == [(DType.U8, True)] * 2


def test_constraints_are_not_asked_again_when_a_plugin_s_units_are_compiled() -> None:
    asked = []

    def once(unit: NodeUnit, graph: Graph) -> None:
        asked.append(unit.label)
        raise AssertionError

    support = OperatorSupport("Det3", good, (once,))  # type: ignore[arg-type]
    body = "a = DequantizeLinear(x, s, z)\nb = Det3(a)\ny = QuantizeLinear(b, s, z)"
    scope = Scope()
    assert CompiledPartition(unchecked(body), build_registry({"a": _Takes(support)}), scope).static
    assert not asked
    assert not scope.quarantine


class _Takes(_Lowers):
    def __init__(self, support: OperatorSupport, *more: Any) -> None:
        self._support, self._more = support, more

    @hookimpl
    def furiosa_operators(self) -> Sequence[OperatorSupport]:
        return [self._support]

    @hookimpl
    def furiosa_lowerings(self) -> Sequence[Lowering]:
        return []

    @hookimpl
    def furiosa_cost_models(self) -> Sequence[CostModel]:
        return [one for one in self._more if isinstance(one, CostModel)]

    @hookimpl
    def furiosa_selections(self) -> Sequence[PartitionSelection]:
        return [one for one in self._more if isinstance(one, PartitionSelection)]


def test_a_cost_model_that_fails_takes_its_plugin_s_units_along(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> float:
        raise ZeroDivisionError

    support = OperatorSupport("Det3", good, UNARY)
    plugin = _Takes(support, CostModel("costly", fails, priority=1))
    scope = Scope()
    with caplog.at_level(logging.WARNING):
        report = partitioned(build_registry({"acme": plugin}), monkeypatch, scope)
    decline = rows(report)["Det3"].decline
    assert decline is not None
    assert decline.code == DeclineCode.PLUGIN_ERROR
    assert len(caplog.records) == 1

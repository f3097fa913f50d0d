"""Passes of plugins: kept where all is well with what they leave, and otherwise without effect."""

import dataclasses
import re
import sys
from typing import Any

import numpy as np
import pytest

from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.compiler.passes import optimize
from furiosa_ep.device_emulator import Executable, checksum
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Table
from furiosa_ep.partitioner.descriptors import GraphPass, Stage
from furiosa_ep.partitioner.environment import BUILT_IN, STRICT
from furiosa_ep.partitioner.plugins import build_registry, registry
from furiosa_ep.partitioner.registry import PluginError, Scope
from furiosa_ep.program import DType, Program
from tests.compiler.device_graphs import PARAMS, Maker, random_graph
from tests.compiler.kind_samples import sample
from tests.compiler.plugin_passes import (
    PassPlugin,
    Run,
    cancel_inverses,
    program,
    registry_with,
)
from tests.compiler.test_codegen import compiled
from tests.compiler.test_driver import dynamic_partition, random_inputs

PLAIN = program(registry()).to_bytes(checksum)


def find(graph: DeviceGraph, kind: str) -> Operation:
    return next(one for one in graph.operations if one.kind == kind)


def attributes(kind: str, **changes: Any) -> Run:
    return lambda graph: find(graph, kind).attributes.update(changes)


def bytes_in_place(graph: DeviceGraph) -> None:
    weights = find(graph, "Conv").inputs[1]
    assert weights is not None
    assert weights.constant is not None
    weights.constant[...] = 0


def table_in_place(graph: DeviceGraph) -> None:
    find(graph, "Lookup").attributes["table"].values[...] = 0


def indices_in_place(graph: DeviceGraph) -> None:
    find(graph, "Gather").attributes["indices"][...] = 0


def exits(graph: DeviceGraph) -> None:
    sys.exit(3)


def raises(graph: DeviceGraph) -> None:
    find(graph, "Conv").attributes.clear()
    raise KeyError("scale")


def short_table() -> Table:
    return Table(lambda: np.zeros(9, np.uint8))


DAMAGE: dict[str, tuple[Run, str]] = {
    "raises": (raises, "pass acme: KeyError: 'scale'"),
    "exits": (exits, "pass acme: SystemExit: 3"),
    "shape": (
        lambda g: setattr(find(g, "Conv").output, "shape", (1, 4, 6, 6)),
        r"pass acme: after it: Conv of 'Conv.*the operands give \[1, 4, 6, 5\]",
    ),
    "dtype": (
        lambda g: setattr(find(g, "MaxPool").output, "dtype", DType.F32),
        "MaxPool of .*: the result is F32|output '.*' is F32",
    ),
    "twice": (lambda g: g.operations.append(find(g, "Conv")), "Conv of .*: computes .* again"),
    "order": (lambda g: g.operations.reverse(), "before it is computed"),
    "unread": (lambda g: g.remove([find(g, "Conv")]), "before it is computed"),
    "output dropped": (lambda g: g.outputs.pop(), "1 outputs: expected 2"),
    "output retyped": (
        lambda g: g.outputs.__setitem__(0, g.outputs[1]),
        r"pass acme: after it: output '.*' is U8 \[1, 4, 5, 4\]: expected U8 \[1, 4, 6, 5\]",
    ),
    "output unknown": (
        lambda g: g.outputs.__setitem__(0, DeviceValue("new", DType.U8, (1, 4, 6, 5))),
        "output 'new' is never computed",
    ),
    "input retyped": (lambda g: setattr(g.inputs[0], "dtype", DType.I8), "input 'x' is I8"),
    "input dropped": (lambda g: g.inputs.clear(), "other inputs than before"),
    "input replaced": (
        lambda g: g.inputs.__setitem__(0, DeviceValue("x", DType.U8, g.inputs[0].shape)),
        "other inputs than before",
    ),
    "input constant": (
        lambda g: setattr(g.inputs[0], "constant", np.zeros((1, 4, 6, 5), np.uint8)),
        "input 'x' is",
    ),
    "kind": (lambda g: setattr(find(g, "MaxPool"), "kind", "Dance"), "Dance of .*unknown kind"),
    "attribute missing": (
        lambda g: find(g, "Conv").attributes.pop("pads"),
        "Conv of .*: attribute 'pads' is missing",
    ),
    "attribute wrong": (attributes("Conv", group="many"), "attribute 'group' is 'many'"),
    "table changed": (
        lambda g: setattr(find(g, "Lookup").attributes["table"], "channel_axis", 9),
        "axis 9",
    ),
    "table": (attributes("MaxPool", table=short_table()), r"'table' is uint8 \[9\]"),
    "constant in place": (bytes_in_place, "read-only"),
    "table in place": (table_in_place, "read-only"),
    "attribute in place": (indices_in_place, "read-only"),
    "operations": (lambda g: setattr(g, "operations", None), "TypeError"),
    "outputs": (lambda g: setattr(g, "outputs", 7), "TypeError"),
    "attributes": (lambda g: setattr(find(g, "Conv"), "attributes", ()), "AttributeError"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_dropped_and_reported_once(what: str, caplog: pytest.LogCaptureFixture) -> None:
    run, reason = DAMAGE[what]
    runs = []

    def counted(graph: DeviceGraph) -> None:
        runs.append(1)
        run(graph)

    with_it, scope = registry_with(acme=counted), Scope()
    for _ in range(2):  # two partitions of a session
        assert program(with_it, scope).to_bytes(checksum) == PLAIN
    assert len(runs) == 1
    (record,) = caplog.records
    subject, _, what_is_wrong = record.message.partition(": ")
    assert subject == "passes of plugin 'acme' are left out of this session"
    assert "pass acme" in what_is_wrong
    assert re.search(reason, what_is_wrong)


@pytest.mark.parametrize("what", DAMAGE)
def test_strict_mode_raises(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, reason = DAMAGE[what]
    monkeypatch.setenv(STRICT, "1")
    with pytest.raises(PluginError, match=r"plugin 'acme': .*pass acme") as error:
        program(registry_with(acme=run))
    assert re.search(reason, str(error.value))


def test_outputs_in_another_order_are_noticed_even_where_their_types_are_equal() -> None:
    m = Maker()
    x = m.input(2, 3)
    graph, scope = m.output(m.lookup(x), m.lookup(x)), Scope()
    swap = GraphPass("swap", lambda g: g.outputs.reverse(), owner="acme")
    assert optimize(graph, [swap], scope) is graph
    assert "in another order" in scope.without_passes["acme"]


def test_two_outputs_may_become_one_value() -> None:
    m = Maker()
    x = m.input(2, 3)
    y = m.lookup(x)
    table = m.graph.operations[-1].attributes["table"]
    graph = m.output(y, m.emit("Lookup", x, table=table))
    for kept in (0, 1):
        scope = Scope()

        def share(g: DeviceGraph, kept: int = kept) -> None:
            g.outputs = [g.outputs[kept]] * 2

        found = optimize(graph, [GraphPass("share", share, owner="acme")], scope)
        assert not scope.without_passes
        assert len(found.operations) == 1


def test_a_good_pass_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    changed = program(registry_with(acme=cancel_inverses))
    plain = Program.from_bytes(PLAIN)
    assert [one.opcode for one in plain.commands].count("GATHER") == 2
    assert "GATHER" not in [one.opcode for one in changed.commands]
    for seed in range(3):
        (x,) = random_inputs((1, 4, 6, 5), seed=seed)
        own, want = (Executable(data).run([x]) for data in (changed.to_bytes(checksum), PLAIN))
        for one, other in zip(own, want, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not caplog.records


def test_passes_of_several_plugins_run_one_after_the_other() -> None:
    seen: dict[str, list[str]] = {}

    def look(name: str) -> Run:
        def run(graph: DeviceGraph) -> None:
            seen[name] = [one.kind for one in graph.operations]

        return run

    found = build_registry(
        {
            "acme": PassPlugin(
                GraphPass("before", look("before"), before=("merge-functions",)),
                GraphPass("cancel", cancel_inverses, Stage.FUSE, before=("fuse-tables",)),
                GraphPass("between", look("between"), Stage.FUSE, after=("cancel",)),
            ),
            "other": PassPlugin(GraphPass("after", look("after"), Stage.FINISH)),
            "zoo": PassPlugin(GraphPass("broken", raises, Stage.FINISH)),
        }
    )
    program(found)
    assert seen["before"].count("Transpose") == seen["before"].count("Gather") == 2
    # What nothing reads behind a pass is gone before the next one.
    assert seen["between"].count("Transpose") == seen["between"].count("Gather") == 0
    assert seen["after"] == ["Conv", "Lookup", "MaxPool"]


def test_a_failure_leaves_out_only_the_passes_of_its_plugin() -> None:
    runs = []
    found = build_registry(
        {
            "acme": PassPlugin(
                GraphPass("broken", raises), GraphPass("more", lambda g: runs.append("acme"))
            ),
            "other": PassPlugin(GraphPass("fine", lambda g: runs.append("other"))),
        }
    )
    scope = Scope()
    assert program(found, scope).to_bytes(checksum) == PLAIN
    assert runs == ["other"]
    assert set(scope.without_passes) == {"acme"}
    assert not scope.quarantine  # what it has claimed is lowered by it


def test_another_session_tries_again() -> None:
    runs = []

    def broken(graph: DeviceGraph) -> None:
        runs.append(1)
        raises(graph)

    with_it = registry_with(acme=broken)
    for _ in range(2):
        program(with_it, Scope())
    assert len(runs) == 2


def test_a_pass_that_changes_nothing_leaves_the_graph_itself() -> None:
    graph = sample("Conv")
    look = GraphPass("look", lambda graph: None, owner="acme")
    assert optimize(graph, [look], Scope()) is graph


def test_what_a_plugin_holds_on_to_is_not_the_graph() -> None:
    held: list[DeviceGraph] = []

    def hold(graph: DeviceGraph) -> None:
        held.append(graph)
        cancel_inverses(graph)

    def spoil(graph: DeviceGraph) -> None:
        for one in (held[0], *held[0].operations):
            vars(one).clear()

    found = build_registry({"acme": PassPlugin(GraphPass("hold", hold), GraphPass("spoil", spoil))})
    scope = Scope()
    expected = program(registry_with(acme=cancel_inverses)).to_bytes(checksum)
    assert program(found, scope).to_bytes(checksum) == expected
    assert not scope.without_passes


def test_the_graph_is_as_it_was_behind_a_pass_that_fails() -> None:
    for seed in range(60):
        graph = random_graph(seed)
        before = compiled(graph).to_bytes(checksum)
        parts = [(one, one.kind, [*one.inputs], [*one.outputs]) for one in graph.operations]
        wreck = GraphPass("wreck", _wreck, owner="acme")
        scope = Scope()
        assert optimize(graph, [wreck], scope) is graph
        assert scope.without_passes
        assert parts == [(one, one.kind, one.inputs, one.outputs) for one in graph.operations]
        assert compiled(graph).to_bytes(checksum) == before


def _wreck(graph: DeviceGraph) -> None:
    """Changes everything that can be changed, and fails."""
    for one in graph.operations:
        one.kind = "Dance"
        one.attributes.clear()
        for value in (*one.inputs, *one.outputs):
            if value is not None:
                value.shape, value.dtype, value.name, value.signed = (), DType.BOOL, "", True
        one.inputs.clear()
        one.outputs.clear()
    graph.inputs.clear()
    graph.outputs.clear()
    graph.operations.clear()
    raise RuntimeError("wrecked")


def test_what_fools_the_verification_is_left_out_by_the_driver(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = build_registry(
        {
            "bad": PassPlugin(GraphPass("refused", _refused)),
            "good": PassPlugin(GraphPass("cancel", cancel_inverses)),
            "worse": PassPlugin(GraphPass("uncompilable", _uncompilable)),
        }
    )
    scope = Scope()
    expected = program(registry_with(acme=cancel_inverses)).to_bytes(checksum)
    for _ in range(2):
        assert program(found, scope).to_bytes(checksum) == expected
    assert [record.message.partition(", ")[0] for record in caplog.records] == [
        "passes of plugin 'bad' are left out of this session: behind its passes",
        "passes of plugin 'worse' are left out of this session: behind its passes",
    ]
    assert "ProgramError" in caplog.records[0].message
    assert "CompileError" in caplog.records[1].message


def _behind(graph: DeviceGraph, kind: str, shape: tuple[int, ...], **attributes: Any) -> None:
    """Puts an operation behind the last output."""
    value = graph.outputs[-1]
    made = DeviceValue(kind, value.dtype, shape)
    graph.operations.append(Operation(kind, [value], [made], attributes, kind))
    graph.outputs[-1] = made


def _refused(graph: DeviceGraph) -> None:
    """Computes with an operand that is not there, which only the executor notices."""
    code = ((0, 3),)
    _behind(
        graph, "Expression", graph.outputs[-1].shape, params=(PARAMS,), y_params=PARAMS, code=code
    )


def _uncompilable(graph: DeviceGraph) -> None:
    """Adds up no elements at all."""
    *most, last = shape = graph.outputs[-1].shape
    none = {"starts": (0,) * len(shape), "steps": (1,) * len(shape)}
    total = {"reduction": "sum", "axes": (-1,), "keepdims": True}
    _behind(graph, "Slice", (*most, 0), **none)
    _behind(graph, "Reduce", (*most, 1), **total, x_params=PARAMS, y_params=PARAMS)
    _behind(graph, "Expand", (*most, last))


def test_where_the_plugins_are_not_to_blame_the_error_is_the_compiler_s(
    caplog: pytest.LogCaptureFixture,
) -> None:
    partition = CompiledPartition(dynamic_partition(), registry_with(acme=cancel_inverses), Scope())
    with pytest.raises(InternalError, match="but the model declares"):
        partition.program([(1, 4, 4, 4)])
    assert not caplog.records


def test_what_is_only_wrong_in_strict_mode_raises_there_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(STRICT, "1")
    with pytest.raises(PluginError, match="plugin 'acme': behind its passes, ProgramError"):
        program(registry_with(acme=_refused))


def test_without_the_built_in_passes_what_the_lowerings_emit_is_compiled() -> None:
    (x,) = random_inputs((1, 4, 6, 5))
    plain = dataclasses.replace(registry(), passes=())
    data = program(plain).to_bytes(checksum)
    assert data != PLAIN
    for own, want in zip(Executable(data).run([x]), Executable(PLAIN).run([x]), strict=True):
        np.testing.assert_array_equal(own, want)


def test_the_order_of_the_built_in_passes() -> None:
    assert [(one.stage.value, one.name) for one in registry().passes if one.owner == BUILT_IN] == [
        ("simplify", "remove-dead-operations"),
        ("simplify", "merge-functions"),
        ("simplify", "remove-merged-operations"),
        ("simplify", "compose-tables"),
        ("simplify", "remove-identity-tables"),
        ("simplify", "join-slices"),
        ("simplify", "remove-joined-slices"),
        ("fuse", "fuse-tables"),
        ("fuse", "fuse-residual-adds"),
        ("fuse", "fuse-tables-behind-adds"),
        ("fuse", "fold-pads"),
        ("finish", "remove-unread-operations"),
    ]

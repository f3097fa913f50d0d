"""The partitioner: node units, claims, and the cut into partitions."""

import contextlib
import contextvars
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from furiosa_ep.graph import ElementType, Graph
from furiosa_ep.partitioner.cut import cut
from furiosa_ep.partitioner.memory import partition_decline
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.quantization import is_dequantize, is_quantize
from furiosa_ep.partitioner.registry import Registry, Scope, operator_name, place
from furiosa_ep.partitioner.report import Report, UnitRow
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit, OperatorSupport
from furiosa_ep.partitioner.units import dependencies, node_units, without_dequantize
from furiosa_ep.partitioner.verdict import Trial, Verdict, Verdicts, is_shape_arithmetic

_FUSED_WITHOUT_QUANTIZE = frozenset({"Gemm", "MatMul"})
"""What ONNX Runtime fuses with the DequantizeLinear before it even where the result is float."""

_COST = Decline(
    DeclineCode.COST,
    "A partition must hold more than data movement and one elementwise operator: crossing its "
    "borders costs more than the NPU gains.",
    "Provider option claim=all takes it nevertheless.",
)
_Decide = Callable[[NodeUnit], Verdict]
_Unfused = dict[NodeUnit, Decline]
"""What matches patterns that do not take it, the highest priority first."""
_UNMET_SHAPE = Decline(
    DeclineCode.DYNAMIC_SHAPE,
    "Shape arithmetic must be in the partition of all nodes that read it. Found: a shape that "
    "nodes outside the partition compute or read, too.",
    "Export the model with static shapes, or fold its shapes.",
)
_SHAPE_READ_OUTSIDE = Decline(
    DeclineCode.NOT_QUANTIZED,
    "Shape arithmetic goes to the NPU with the nodes that read it, all in one partition. Found: a "
    "reader outside.",
)


class Options(Protocol):
    """What the partitioner takes of the provider's options."""

    @property
    def claim(self) -> str:
        """The name of the selection that decides which partitions are taken."""

    @property
    def disabled_ops(self) -> Collection[str]:
        """Operators that stay on the CPU: "Conv", with a domain "com.microsoft:QLinearAdd"."""


Visit = Callable[[Graph, Report, Scope], None]
"""Sees a graph, whose constants may be gone afterwards, with what was decided."""


class _Collector:
    def __init__(self, decide_only: bool, visit: Visit | None) -> None:
        self.reports: list[Report] = []
        self.decide_only = decide_only
        self.visit = visit


_collector: contextvars.ContextVar[_Collector | None] = contextvars.ContextVar(
    "collector", default=None
)


@contextlib.contextmanager
def collected_reports(
    *, decide_only: bool = False, visit: Visit | None = None
) -> Iterator[list[Report]]:
    """Collects the reports that `partition_model` makes in this context, one per graph.

    With `decide_only` it returns reports without partitions, so that nothing is compiled. `visit`
    is called with each of them; it must not raise.
    """
    collector = _Collector(decide_only, visit)
    token = _collector.set(collector)
    try:
        yield collector.reports
    finally:
        _collector.reset(token)


def is_deciding_only() -> bool:
    """Whether this context collects reports with `decide_only`."""
    collector = _collector.get()
    return collector is not None and collector.decide_only


def partition_model(
    model: bytes, options: Options, scope: Scope | None = None, trial: Trial | None = None
) -> Report:
    """Decide which nodes of a serialized ModelProto the NPU takes.

    The report's partitions are convex and disjoint; their indices count in `model.graph.node`.
    `trial` as for `partition_graph`.
    """
    plugins = registry()
    graph, scope = Graph.from_bytes(model), scope or Scope()
    report = partition_graph(
        graph,
        plugins,
        claim=options.claim,
        disabled=options.disabled_ops,
        scope=scope,
        trial=trial,
    )
    plugins.notify("furiosa_partitioned", report=lambda: report)
    collector = _collector.get()
    if collector is None:
        return report
    collector.reports.append(report)
    if collector.visit is not None:
        collector.visit(graph, report, scope)
    return Report(report.units, ()) if collector.decide_only else report


def partition_graph(
    graph: Graph,
    plugins: Registry,
    *,
    claim: str = "profitable",
    disabled: Collection[str] = (),
    scope: Scope | None = None,
    trial: Trial | None = None,
) -> Report:
    """Decide which node units of a graph the NPU takes, and in which partitions.

    A plugin that fails is quarantined in `scope`, and everything is decided again without it. A
    third party's lowering fails where `trial` raises. What `trial` says of memory counts; without
    one, what can be told without compiling.
    """
    scope = scope or Scope()
    while True:
        quarantined = len(scope.quarantine)
        report = _partition(claim, Verdicts(graph, plugins, disabled, scope, trial))
        if len(scope.quarantine) == quarantined:
            return report


def _partition(claim: str, decide: Verdicts) -> Report:
    graph, plugins, scope = decide.graph, decide.plugins, decide.scope
    units, verdicts, unfused = _claims(graph, plugins.patterns, decide.of, scope)
    reads = dependencies(units, graph)
    outputs = frozenset(graph.outputs)
    shape = [is_shape_arithmetic(unit, graph) for unit in units]
    exported = [
        any(name in outputs for node in unit.nodes for name in node.outputs) for unit in units
    ]
    while True:
        claimed = [isinstance(verdict, OperatorSupport) for verdict in verdicts]
        result = cut(reads, claimed, shape, exported)
        dropped = dict.fromkeys(result.unmet, _UNMET_SHAPE)
        if not dropped:
            dropped = {
                position: decline
                for component in result.components(reads)
                if (
                    decline := _not_taken(
                        [units[one] for one in component], graph, plugins, claim, scope
                    )
                )
                for position in component
                if claimed[position]
            }
        if not dropped:
            declines = decide.beyond_memory(
                [[units[one] for one in members] for members in result.partitions()],
                {unit for unit, taken in zip(units, claimed, strict=True) if taken},
            )
            dropped = {n: declines[unit] for n, unit in enumerate(units) if unit in declines}
        if not dropped:
            break
        for position, decline in dropped.items():
            verdicts[position] = decline
    for position, level in enumerate(result.levels):
        if level is None and verdicts[position] is None:
            verdicts[position] = _SHAPE_READ_OUTSIDE
    _tell_of_patterns(units, verdicts, unfused)
    return _report(graph, units, verdicts, result.levels, plugins, scope)


def _not_taken(
    units: Sequence[NodeUnit], graph: Graph, plugins: Registry, claim: str, scope: Scope
) -> Decline | None:
    """Why a partition of these units is not taken."""
    if not plugins.takes(claim, units, graph, scope):
        return _COST
    target = plugins.target(scope)
    return partition_decline(units, graph, target) if target else None


def _claims(
    graph: Graph, patterns: Sequence[OperatorSupport], decide: _Decide, scope: Scope
) -> tuple[list[NodeUnit], list[Verdict], _Unfused]:
    """The node units of a graph, and what takes each, whatever its neighbours are."""
    fused: dict[NodeUnit, Verdict] = {}

    def takes(unit: NodeUnit) -> bool:
        fused[unit] = decide(unit)
        scope.fused[place(unit)] = taken = isinstance(fused[unit], OperatorSupport)
        return taken

    units = node_units(graph, patterns, takes)
    verdicts = [fused.get(unit) or decide(unit) for unit in units]
    unfused = {unit: one for unit, one in fused.items() if isinstance(one, Decline)}
    return *_with_loose_borders(units, verdicts, graph, decide), unfused


def _tell_of_patterns(
    units: Sequence[NodeUnit], verdicts: list[Verdict], unfused: _Unfused
) -> None:
    """Add to the reasons of what is on the CPU why a pattern that matches does not take it."""
    patterns = {
        node.index: (operator_name(*unit.key), decline)
        for unit, decline in reversed(unfused.items())
        for node in unit.nodes
    }
    for position, (unit, verdict) in enumerate(zip(units, verdicts, strict=True)):
        if isinstance(verdict, Decline) and not unit.pattern and unit.node.index in patterns:
            verdicts[position] = _with_pattern(verdict, *patterns[unit.node.index])


def _with_pattern(decline: Decline, name: str, of_pattern: Decline) -> Decline:
    """The reason of an operator that nothing takes alone is the pattern's; another has both."""
    reason = f"As part of {name}: {of_pattern.reason}"
    if decline.code == DeclineCode.NOT_REGISTERED:
        return Decline(of_pattern.code, reason, of_pattern.mend)
    mend = of_pattern.mend and f"As part of {name}: {of_pattern.mend}"
    return Decline(
        decline.code, f"{decline.reason} {reason}", " ".join(filter(None, (decline.mend, mend)))
    )


def _with_loose_borders(
    units: Sequence[NodeUnit],
    verdicts: Sequence[Verdict],
    graph: Graph,
    decide: _Decide,
) -> tuple[list[NodeUnit], list[Verdict]]:
    """Give the DequantizeLinear nodes of declined float operators to the partition before them."""
    taken = {
        one.name
        for unit, verdict in zip(units, verdicts, strict=True)
        if not isinstance(verdict, Decline)
        for one in unit.outputs
    }
    loose_units: list[NodeUnit] = []
    loose_verdicts: list[Verdict] = []
    for unit, verdict in zip(units, verdicts, strict=True):
        parts = [unit]
        declined = isinstance(verdict, Decline)
        if declined and _is_loose(unit) and any(x.name in taken for x in unit.inputs):
            parts = without_dequantize(unit, graph)
        for part in parts:
            loose_units.append(part)
            loose_verdicts.append(verdict if part.node is unit.node else decide(part))
    return loose_units, loose_verdicts


def _is_loose(unit: NodeUnit) -> bool:
    """Whether ONNX Runtime computes the unit's operator in float, apart from its neighbours."""
    return (
        len(unit.nodes) > 1
        and not any(is_quantize(node) for node in unit.nodes)
        and unit.node.op_type not in _FUSED_WITHOUT_QUANTIZE
    )


def _report(
    graph: Graph,
    units: Sequence[NodeUnit],
    verdicts: Sequence[Verdict],
    levels: Sequence[int | None],
    plugins: Registry,
    scope: Scope,
) -> Report:
    numbers = {
        level: number for number, level in enumerate(sorted({x for x in levels if x is not None}))
    }
    rows = []
    members: list[list[int]] = [[] for _ in numbers]
    for unit, verdict, level in zip(units, verdicts, levels, strict=True):
        partition = None if level is None else numbers[level]
        if partition is not None:
            members[partition].extend(node.index for node in unit.nodes)
        rows.append(
            UnitRow(
                nodes=unit.nodes,
                label=unit.label,
                op_type=operator_name(*unit.key) if unit.pattern else unit.node.op_type,
                quantized=_is_quantized(unit, graph),
                partition=partition,
                decline=verdict if isinstance(verdict, Decline) else None,
                claim=plugins.claim(verdict, unit, scope)
                if isinstance(verdict, OperatorSupport)
                else None,
            )
        )
    return Report(tuple(rows), tuple(tuple(sorted(indices)) for indices in members))


def _is_quantized(unit: NodeUnit, graph: Graph) -> bool:
    if len(unit.nodes) == 1 and (is_quantize(unit.node) or is_dequantize(unit.node)):
        return False

    def is_8_bit(name: str) -> bool:
        return graph.dtype(name) in (ElementType.UINT8, ElementType.INT8)

    return any(one.params or is_8_bit(one.name) for one in unit.inputs) and all(
        one.params or is_8_bit(one.name) for one in unit.outputs if one.name
    )

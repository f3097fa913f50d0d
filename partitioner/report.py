"""What the partitioner decided: for the log line, for `furiosa_ep.explain`, and for tools."""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass

from furiosa_ep.graph import Node
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.support import Decline

NPU = "FuriosaProvider"
CPU = "CPUExecutionProvider"

_MOST_REASONS = 4
"""How many kinds of declined units the summary names."""
_MOST_EXAMPLES = 5
"""How many units the table lists with each reason."""
_FOUND = " Found: "
"""What stands between the requirement and what was found instead."""


@dataclass(frozen=True)
class Claim:
    """What takes a node unit to the NPU."""

    plugin: str
    """The plugin that lowers it."""
    python_kernels: tuple[str, ...] = ()
    """The opcodes of its kernels that run in Python, under the GIL."""
    fused: str = ""
    """The operator that a pattern of the plugin makes of several nodes."""


@dataclass(frozen=True)
class UnitRow:
    """One node unit and where it runs."""

    nodes: tuple[Node, ...]
    """All its nodes, in topological order."""
    label: str
    """How people find it: the name of its operator, or the operator's type and output."""
    op_type: str
    quantized: bool
    """Whether it takes 8-bit values and all its results are 8-bit; false for shape arithmetic."""
    partition: int | None
    """None on the CPU."""
    decline: Decline | None
    """Why it is on the CPU."""
    claim: Claim | None = None
    """What takes it; None on the CPU and for shape arithmetic."""


@dataclass(frozen=True)
class NodeRow:
    """One node of the graph and where it runs."""

    index: int
    """Its position among the nodes of the graph that ONNX Runtime showed."""
    name: str
    op_type: str
    unit: str
    """The label of its node unit."""
    provider: str
    partition: int | None
    plugin: str = ""
    """What takes it to the NPU; "" on the CPU and for shape arithmetic."""
    python_kernels: tuple[str, ...] = ()
    """The opcodes of its kernels that run in Python, under the GIL."""
    code: str = ""
    """Why it is on the CPU: a decline code, a sentence, and what to do about it."""
    reason: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Report:
    """The decision on a whole graph."""

    units: tuple[UnitRow, ...]
    """In topological order."""
    partitions: tuple[tuple[int, ...], ...]
    """Per partition the indices of its nodes, ascending."""

    @property
    def rows(self) -> tuple[NodeRow, ...]:
        """One row per node, in the order of the graph."""
        rows = (_node_row(node, unit) for unit in self.units for node in unit.nodes)
        return tuple(sorted(rows, key=lambda row: row.index))

    @property
    def quantized_share(self) -> float:
        """The part of the quantized node units that the NPU takes; 1 where there are none."""
        quantized = [unit for unit in self.units if unit.quantized]
        taken = sum(unit.partition is not None for unit in quantized)
        return taken / len(quantized) if quantized else 1.0

    def summary(self) -> str:
        """One line: what the NPU takes, in how many partitions, and why not the rest."""
        taken = [unit for unit in self.units if unit.partition is not None]
        left = [unit for unit in self.units if unit.partition is None]
        count = len(self.partitions)
        text = (
            f"{NPU}: {len(taken)} of {len(self.units)} node units "
            f"({sum(len(unit.nodes) for unit in taken)} of "
            f"{sum(len(unit.nodes) for unit in self.units)} nodes) "
            f"in {count} partition{'' if count == 1 else 's'}"
        )
        reasons = Counter((unit.op_type, unit.decline.code) for unit in left if unit.decline)
        named = [f"{n} x {op} ({code})" for (op, code), n in reasons.most_common(_MOST_REASONS)]
        more = len(left) - sum(n for _, n in reasons.most_common(_MOST_REASONS))
        if more:
            named.append(f"{more} more")
        return f"{text}; on the CPU: {', '.join(named)}" if named else text

    def to_json(self) -> str:
        """The report as a JSON object: summary, counts, and one object per node."""
        return json.dumps(
            {
                "summary": self.summary(),
                "quantized_share": self.quantized_share,
                "partitions": self.partitions,
                "nodes": [dataclasses.asdict(row) for row in self.rows],
            },
            indent=2,
        )

    def table(self) -> str:
        """The report as text: nodes in columns, reasons with what was found, the summary."""
        reasons: dict[tuple[str, ...], list[UnitRow]] = {}
        for unit in self.units:
            if unit.decline is not None:
                reasons.setdefault(_requirement(unit.decline), []).append(unit)
        numbers = {reason: f"[{number}]" for number, reason in enumerate(reasons, start=1)}
        lines = [("node", "operator", "where", "why")]
        owners = {node.index: (node, unit) for unit in self.units for node in unit.nodes}
        for index, (node, owner) in sorted(owners.items()):
            why = ""
            if owner.decline is not None:
                why = f"{owner.decline.code.value} {numbers[_requirement(owner.decline)]}"
            where = "CPU" if owner.partition is None else f"NPU {owner.partition}"
            if owner.claim is not None:
                why = _by(owner.claim)
            lines.append((f"{index} {node.label}", node.op_type, where, why))
        widths = [max(len(line[column]) for line in lines) for column in range(3)]
        text = [
            "  ".join((*(f"{line[i]:<{widths[i]}}" for i in range(3)), line[3])).rstrip()
            for line in lines
        ]
        for reason, units in reasons.items():
            text += ["", " ".join(filter(None, (numbers[reason], *reason)))]
            text += [f"    {unit.label}{_found(unit)}" for unit in units[:_MOST_EXAMPLES]]
            if len(units) > _MOST_EXAMPLES:
                text.append(f"    and {len(units) - _MOST_EXAMPLES} more")
        return "\n".join((*text, "", self.summary()))

    def __str__(self) -> str:
        return self.table()


def _node_row(node: Node, unit: UnitRow) -> NodeRow:
    row = NodeRow(
        index=node.index,
        name=node.name,
        op_type=node.op_type,
        unit=unit.label,
        provider=CPU if unit.partition is None else NPU,
        partition=unit.partition,
    )
    if unit.claim is not None:
        return dataclasses.replace(
            row, plugin=unit.claim.plugin, python_kernels=unit.claim.python_kernels
        )
    if unit.decline is None:
        return row
    return dataclasses.replace(
        row, code=unit.decline.code.value, reason=unit.decline.reason, mend=unit.decline.mend
    )


def _by(claim: Claim) -> str:
    """What takes a node, where it is a third party's."""
    text = "" if claim.plugin == BUILT_IN else f"by {claim.plugin}"
    if claim.fused:
        text += f" as {claim.fused}"
    if claim.python_kernels:
        text += f", {', '.join(claim.python_kernels)} in Python (takes the GIL)"
    return text


def _requirement(decline: Decline) -> tuple[str, ...]:
    """What units that are declined for the same reason have in common."""
    return decline.code.value, decline.reason.partition(_FOUND)[0], decline.mend


def _found(unit: UnitRow) -> str:
    found = unit.decline.reason.partition(_FOUND)[2] if unit.decline else ""
    return f": {found}" if found else ""

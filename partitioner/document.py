"""The document of supported operators, docs/operators.md, written from the rules themselves.

python -m furiosa_ep.partitioner.document > docs/operators.md
"""

import sys

from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import Registry, operator_name, opset_range
from furiosa_ep.partitioner.support import CHAIN, OperatorSupport

_HEAD = """\
# Supported operators

What FuriosaProvider takes with its built-in operators; plugins add to it. An operator is taken as
a [node unit](partitioner.md) that meets every requirement below; `furiosa explain model.onnx` names
the first one that a node does not meet. This page is written by
`python -m furiosa_ep.partitioner.document > docs/operators.md`.
"""


def document(operators: Registry) -> str:
    """The Markdown text of docs/operators.md for the operators in a registry."""
    entries = [entry for group in operators.operators.values() for entry in group]
    by_requirements: dict[tuple[str, ...], list[OperatorSupport]] = {}
    for entry in sorted(entries, key=lambda one: (one.domain, one.op_type, one.since)):
        by_requirements.setdefault(_requirements(entry), []).append(entry)
    table = ["| operator | opset | requirements |", "|---|---|---|"]
    notes: list[str] = []
    for number, (requirements, group) in enumerate(by_requirements.items(), start=1):
        names = ", ".join(dict.fromkeys(map(_name, group)))
        notes += ["", f"## Requirements {number}", "", f"For {names}:", ""]
        notes += [f"- {requirement}" for requirement in requirements] or ["- None."]
        link = f"[{number}](#requirements-{number})"
        table += [f"| {_name(entry)} | {_opsets(entry)} | {link} |" for entry in group]
    return "\n".join([_HEAD, *table[:2], *sorted(table[2:]), *notes]) + "\n"


def _requirements(entry: OperatorSupport) -> tuple[str, ...]:
    return tuple(f"{check.__doc__} (`{check.code.value}`)" for check in entry.constraints)


def _name(entry: OperatorSupport) -> str:
    if (entry.domain, entry.op_type) == CHAIN:
        return "elementwise chain"
    return operator_name(entry.domain, entry.op_type)


def _opsets(entry: OperatorSupport) -> str:
    return "any" if (entry.domain, entry.op_type) == CHAIN else opset_range(entry)


if __name__ == "__main__":
    sys.stdout.write(document(build_registry({})))

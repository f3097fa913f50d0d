"""The reference part of the pages docs/plugins/hooks/*.md, written from the hooks themselves.

python -m furiosa_ep.partitioner.hook_document docs/plugins/hooks

What stands on a page from its first "## Example" on is kept as it is.
"""

import ast
import dataclasses
import inspect
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from furiosa_ep.graph import device
from furiosa_ep.kernels import kernel
from furiosa_ep.partitioner import descriptors, patterns, support
from furiosa_ep.partitioner.hookspecs import DESCRIPTORS, Hooks

KEPT = "## Example"
_WITH: Mapping[str, tuple[type, ...]] = {
    "furiosa_plugin": (descriptors.PluginInfo,),
    "furiosa_operators": (
        support.NodeUnit,
        support.Operand,
        support.Builder,
        support.DeclineCode,
        patterns.Pattern,
        patterns.PatternNode,
        patterns.PatternMatch,
    ),
    "furiosa_kernels": (
        kernel.NativeKernel,
        kernel.KernelFrame,
        kernel.KernelTensor,
        kernel.KernelCase,
        kernel.KernelCost,
    ),
    "furiosa_passes": (descriptors.Stage, device.DeviceGraph, device.Operation, device.DeviceValue),
    "furiosa_selections": (descriptors.Candidate,),
    "furiosa_calibrators": (descriptors.RangeCollector, descriptors.SampleCollector),
}
"""Further classes that the page of a hook describes."""


def pages() -> dict[str, str]:
    """The reference part of each hook's page, by the hook's name."""
    return {name: page(name) for name in vars(Hooks) if name.startswith("furiosa_")}


def page(hook: str) -> str:
    """The reference part of one hook's page."""
    function = getattr(Hooks, hook)
    lines = [f"# {hook}", "", *_paragraphs(function), "", "```python", signature(hook), "```", ""]
    for described in _described(hook):
        lines += [f"## {described.__name__}", "", *_paragraphs(described), ""]
        rows = list(_members(described))
        if rows:
            lines += ["| | default | |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def signature(hook: str) -> str:
    """The hook in a plugin that is a module."""
    function = getattr(Hooks, hook)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    result = function.__annotations__["return"]
    text = inspect.Signature(parameters, return_annotation=result)
    return f"@hookimpl\ndef {hook}{_plain(str(text))}: ..."


def write(folder: Path) -> None:
    """Write all pages, and keep what is not generated."""
    folder.mkdir(parents=True, exist_ok=True)
    for hook, head in pages().items():
        path = folder / f"{hook}.md"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        start = old.find(KEPT)
        path.write_text(head + (old[start:] if start >= 0 else ""), encoding="utf-8")


def _described(hook: str) -> tuple[type, ...]:
    found: list[Any] = [DESCRIPTORS[hook]] if hook in DESCRIPTORS else []
    return (*found, *_WITH.get(hook, ()))


def _paragraphs(documented: Any) -> list[str]:
    """The docstring as Markdown."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    return [line.strip() if line.startswith(" ") else line for line in lines]


def _members(described: type) -> Iterator[str]:
    """A row for each field or member, with the text that stands below it in the source."""
    (definition,) = ast.parse(inspect.getsource(described)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101
    defaults = {}
    if dataclasses.is_dataclass(described):
        defaults = {one.name: one for one in dataclasses.fields(described)}
    body: list[ast.stmt | None] = [*definition.body, None]
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name, kind = statement.target.id, _plain(ast.unparse(statement.annotation))
            if name == "owner":
                continue
            default = _default(statement, defaults.get(name))
            yield f"| `{name}`: `{_cell(kind)}` | {default} | {_text(following)} |"
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = ast.unparse(statement.value)
            yield f"| `{statement.targets[0].id}` | `{value}` | {_text(following)} |"
        elif isinstance(statement, ast.FunctionDef) and not defaults:
            arguments = _cell(_plain(ast.unparse(statement.args)))
            arguments = arguments.removeprefix("self").removeprefix(", ")
            result = f" -> {_cell(_plain(_unparsed(statement.returns)))}".removesuffix(" -> None")
            text = " ".join((ast.get_docstring(statement) or "").split())
            yield f"| `{statement.name}({arguments}){result}` | | {_cell(text)} |"


def _unparsed(annotation: ast.expr | None) -> str:
    return "None" if annotation is None else ast.unparse(annotation)


def _default(statement: ast.AnnAssign, declared: "dataclasses.Field[Any] | None") -> str:
    if statement.value is None:
        return "required" if declared is not None else ""
    if declared is not None and declared.default_factory is not dataclasses.MISSING:
        return "empty"
    return f"`{_cell(ast.unparse(statement.value))}`"


def _text(following: ast.stmt | None) -> str:
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return _cell(" ".join(str(following.value.value).split()))
    return ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(annotation: str) -> str:
    """An annotation without the quotes of forward references and without module names."""
    text = re.sub(r"[\"']([A-Za-z_][^\"']*)[\"']", r"\1", annotation)
    return re.sub(r"\b(?:furiosa_ep|collections|typing|argparse|npt)(?:\.[a-z_]+)*\.", "", text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

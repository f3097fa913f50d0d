"""Imports and includes point down only: what a component may use is one table here."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "furiosa_ep"
FOLDERS = ("kernels", "partitioner", "device_emulator", "quantization")
"""Components that live at the root and are linked into the package."""

GROUND = {"files", "graph", "lazy", "program"}
BELOW_COMPILER = GROUND | {"kernels", "device_emulator", "partitioner"}
MAY_IMPORT: dict[str, set[str]] = {
    "graph": {"program"},
    "program": {"files"},
    "files": set(),
    "lazy": set(),
    "options": set(),
    "page": set(),
    "kernels": GROUND,
    "device_emulator": GROUND | {"kernels"},
    "partitioner": GROUND | {"kernels", "device_emulator", "options"},
    "compiler": BELOW_COMPILER | {"options"},
    "quantization": {"graph", "partitioner", "kernels", "lazy", "page"},
    "provider": BELOW_COMPILER | {"compiler", "options"},
}
"""What each component may import besides itself. Components that are not named here stand at the
top: the command line, and the modules of the package that a user calls."""
TOP = ""
"""The package itself, and the components at the top."""

MAY_INCLUDE: dict[str, set[str]] = {
    "kernels/native": set(),
    "device_emulator/native": {"kernels/native", "furiosa_ep/include"},
    "furiosa_ep/provider/native": {
        "kernels/native",
        "device_emulator/native",
        "furiosa_ep/include",
    },
    "furiosa_ep/include": set(),
}
"""What native sources may include besides their own folder."""


class Violation(NamedTuple):
    where: str
    what: str


def component(module: str) -> str:
    """The component of a full module name; the package itself and its top are `TOP`."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else TOP
    return name if name in MAY_IMPORT else TOP


def imported_modules(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """The line and full name of everything that is imported anywhere in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                keep = len(module.split(".")) - node.level + is_package
                base = ".".join([*module.split(".")[:keep], *filter(None, [base])])
            if base == PACKAGE:
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base


def python_violations(source: str, module: str, is_package: bool = False) -> Iterator[Violation]:
    """The imports of a module of the package that its component may not make."""
    own = component(module)
    for line, imported in imported_modules(ast.parse(source), module, is_package):
        where = f"{module}:{line}"
        if imported == f"{PACKAGE}.__version__":
            continue
        first = imported.split(".")[0]
        if first in (*FOLDERS, "tests", "benchmarks", "examples"):
            yield Violation(where, f"imports {imported}; the full name begins with {PACKAGE}")
        elif first == PACKAGE and own != TOP:
            target = component(imported)
            if target != own and target not in MAY_IMPORT[own]:
                allowed = ", ".join(sorted(MAY_IMPORT[own])) or "nothing of the project"
                yield Violation(where, f"imports {imported}; {own} may import {allowed}")


def native_violations(source: str, path: str) -> Iterator[Violation]:
    """The includes of a native source that its folder may not make."""
    own = next(folder for folder in MAY_INCLUDE if path.startswith(folder))
    for number, line in enumerate(source.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if match and not match[1].startswith((own + "/", *(f"{a}/" for a in MAY_INCLUDE[own]))):
            if own == "kernels/native" and match[1] == "furiosa_ep/include/furiosa_opcodes.def":
                continue
            yield Violation(f"{path}:{number}", f"includes {match[1]}")


def python_modules() -> Iterator[tuple[Path, str, bool]]:
    """Path, full name and whether it is a package, of each module."""
    for folder in (PACKAGE, *FOLDERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if path.parent.is_symlink() or "native" in relative.parts:
                continue
            parts = relative.with_suffix("").parts
            name = ".".join(parts if folder == PACKAGE else (PACKAGE, *parts))
            yield path, name.removesuffix(".__init__"), path.stem == "__init__"


def native_sources() -> Iterable[Path]:
    for folder in MAY_INCLUDE:
        yield from (p for p in (ROOT / folder).rglob("*") if p.suffix in {".cc", ".h"})


def test_python_imports_point_down() -> None:
    violations = [
        violation
        for path, module, is_package in python_modules()
        for violation in python_violations(path.read_text(), module, is_package)
    ]
    assert not violations, "\n".join(": ".join(violation) for violation in violations)


def test_native_includes_point_down() -> None:
    violations = [
        violation
        for path in native_sources()
        for violation in native_violations(path.read_text(), str(path.relative_to(ROOT)))
    ]
    assert not violations, "\n".join(": ".join(violation) for violation in violations)


def test_every_component_is_looked_at() -> None:
    seen = {component(module) for _, module, _ in python_modules()}
    assert seen - {TOP} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("furiosa_ep.kernels.conv", "from furiosa_ep.device_emulator import Executable"),
        ("furiosa_ep.kernels.conv", "import furiosa_ep.partitioner.units"),
        ("furiosa_ep.graph.graph", "def f():\n    from furiosa_ep import compiler"),
        ("furiosa_ep.program.program", "from ..graph import Graph"),
        ("furiosa_ep.partitioner.units", "from furiosa_ep.compiler.driver import compile"),
        ("furiosa_ep.partitioner.units", "from furiosa_ep import register"),
        ("furiosa_ep.quantization.quantize", "from furiosa_ep.provider import registration"),
        ("furiosa_ep.compiler.driver", "from kernels.reference import conv"),
        ("furiosa_ep.cli.explain", "import tests.random_graphs"),
    ],
)
def test_planted_import_is_found(module: str, source: str) -> None:
    assert len(list(python_violations(source, module))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("furiosa_ep.kernels.conv", "from furiosa_ep.kernels.reference import conv, numpy"),
        ("furiosa_ep.compiler.driver", "from ..graph import Graph\nimport numpy as np"),
        ("furiosa_ep.cli.explain", "import furiosa_ep\nfrom furiosa_ep.provider import x"),
    ],
)
def test_allowed_import_is_not(module: str, source: str) -> None:
    assert not list(python_violations(source, module))


def test_relative_import_in_a_package_is_resolved() -> None:
    source = "from . import explain"
    assert not list(python_violations(source, "furiosa_ep.graph", is_package=True))
    assert list(python_violations("from .. import register", "furiosa_ep.graph", is_package=True))


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("kernels/native/conv.cc", "device_emulator/native/program.h"),
        ("device_emulator/native/executor.cc", "furiosa_ep/provider/native/ort.h"),
    ],
)
def test_planted_include_is_found(path: str, include: str) -> None:
    assert len(list(native_violations(f'#include "{include}"\n', path))) == 1

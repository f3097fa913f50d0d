"""Loaded by every Python under ``furiosa run``: wraps onnxruntime once the program imports it.

It stands in front of the interpreter's own sitecustomize, if there is one, and loads that first. It
imports nothing else of the project before the program imports onnxruntime: programs that never do
are not slowed down, and environment variables that a program sets before the import still count.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec


class _AwaitOnnxRuntime(MetaPathFinder):
    """Finds nothing itself; adds a step to the loading of onnxruntime and leaves."""

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        """The module's own spec, with `_install` after its execution."""
        if fullname != "onnxruntime":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            _after_execution(spec)
        return spec


def _after_execution(spec: ModuleSpec) -> None:
    loader = spec.loader
    assert loader is not None  # noqa: S101
    execute = loader.exec_module

    def exec_module(module):  # type: ignore[no-untyped-def]
        execute(module)
        _install()

    loader.exec_module = exec_module  # type: ignore[method-assign]


def _install() -> None:
    try:
        from furiosa_ep.intercept import sessions
    except ImportError as error:
        sys.stderr.write(f"furiosa run: {sys.executable} runs without the NPU: {error}\n")
        return
    sessions.install()


def _load_shadowed() -> None:
    """Run the sitecustomize that this file hides, and take this folder from the import path."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [entry for entry in sys.path if entry != here]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if "FURIOSA_RUN" in os.environ:
    sys.meta_path.insert(0, _AwaitOnnxRuntime())
_load_shadowed()

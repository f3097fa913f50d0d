import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# What takes the registry from it by name is imported here, before a test replaces the registry.
import furiosa_ep.compiler.driver
from furiosa_ep.partitioner import plugins
from furiosa_ep.partitioner.schema import Schema
from tests.provider import fake_driver
from tests.provider.plugin_operators import plugin

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> fake_driver.Behaviour:
    """The fake driver installed for one test, with FuriosaProvider registered."""
    monkeypatch.setitem(sys.modules, "furiosa_ep.compiler.driver", None)
    monkeypatch.setattr(furiosa_ep.compiler, "driver", None, raising=False)
    behaviour = fake_driver.install()
    furiosa_ep.register()
    return behaviour


LoadSchemas = Callable[..., None]


@pytest.fixture
def load(driver: fake_driver.Behaviour, monkeypatch: pytest.MonkeyPatch) -> LoadSchemas:
    """Loads a plugin with some schemas instead of all that are installed; on the fake driver."""

    def load(*schemas: Schema) -> None:
        registry = plugins.build_registry({"hello": plugin(*schemas)})
        monkeypatch.setattr(plugins, "registry", lambda: registry)

    return load


RunPython = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_plain_python() -> RunPython:
    """Runs code in a new interpreter, as a program of its own."""

    def run(code: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def run_python(run_plain_python: RunPython) -> RunPython:
    """As run_plain_python, with the fake driver installed and FuriosaProvider registered."""
    prelude = (
        "import numpy as np, onnxruntime as ort, furiosa_ep\n"
        "from tests.provider import fake_driver, models\n"
        "driver = fake_driver.install()\n"
        "furiosa_ep.register()\n"
        "PROVIDERS = ['FuriosaProvider', 'CPUExecutionProvider']\n"
        "X = np.arange(6, dtype=np.float32).reshape(2, 3)\n"
    )
    return lambda code: run_plain_python(prelude + code)

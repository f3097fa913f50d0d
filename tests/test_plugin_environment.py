"""The environment variables that choose plugins, as a program of its own sees them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import json, logging, sys
import furiosa_ep, numpy as np, onnxruntime as ort
from furiosa_ep.cli.selftest import tiny_model
logging.basicConfig(format="%(message)s", stream=sys.stderr)
furiosa_ep.register()
model = tiny_model().SerializeToString()
own = {"claim": "all", "summary": "off"}
session = ort.InferenceSession(model, providers=[("FuriosaProvider", own), "CPUExecutionProvider"])
cpu = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
x = {"x": np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)}
assert session.run(None, x)[0].tobytes() == cpu.run(None, x)[0].tobytes()
report = furiosa_ep.explain(model, own)
print(json.dumps([[row.op_type, row.plugin, row.code] for row in report.rows]))
"""

PLUGIN = """
from furiosa_ep.plugin import UNARY, OperatorSupport, PluginInfo, hookimpl

class Named:
    def __init__(self, name): self.name = name
    @hookimpl
    def furiosa_plugin(self): return PluginInfo(self.name, "1.0", api_version=1)
    @hookimpl
    def furiosa_operators(self):
        return [OperatorSupport("Conv", priority={"one": 1, "two": 2}[self.name])]

one, two = Named("one"), Named("two")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an installed plugin `one` and a module with it and another one."""
    (tmp_path / "acme.py").write_text(PLUGIN)
    (tmp_path / "failing.py").write_text("import sys\nsys.exit('no licence')\n")
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[furiosa_ep]\none = acme:one\n")
    return tmp_path


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])  # and no other plugins
    clean = {key: value for key, value in os.environ.items() if "PLUGINS" not in key}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**clean, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def conv(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Plugin and decline code of the Conv."""
    assert done.returncode == 0, done.stderr
    return next(rest for op_type, *rest in json.loads(done.stdout) if op_type == "Conv")


def test_without_the_built_in_plugin_the_npu_claims_nothing(folder: Path) -> None:
    done = run(folder, FURIOSA_DISABLE_PLUGINS="furiosa_ep, one")
    assert done.returncode == 0, done.stderr
    assert {code for _, _, code in json.loads(done.stdout)} == {"not-registered"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["", "no-lowering"]),  # of `one`, which overrides the built-in support
        ({"FURIOSA_DISABLE_PLUGINS": "one"}, ["furiosa_ep", ""]),
        ({"FURIOSA_PLUGINS": ""}, ["furiosa_ep", ""]),
        ({"FURIOSA_PLUGINS": "one"}, ["", "no-lowering"]),
        ({"FURIOSA_PLUGINS": "acme:two"}, ["", "no-lowering"]),
        ({"FURIOSA_PLUGINS": "one", "FURIOSA_DISABLE_PLUGINS": "one"}, ["furiosa_ep", ""]),
    ],
)
def test_the_environment_chooses(
    folder: Path, environment: dict[str, str], expected: list[str]
) -> None:
    done = run(folder, **environment)
    assert conv(done) == expected
    assert "left out" not in done.stderr


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        ("failing", "plugin 'failing' is left out: SystemExit: no licence"),
        ("no_such_module", "plugin 'no_such_module' is left out: ModuleNotFoundError"),
        ("acme:three", "plugin 'acme:three' is left out: AttributeError"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_reported_once(
    folder: Path, plugin: str, text: str
) -> None:
    done = run(folder, FURIOSA_PLUGINS=plugin)
    assert conv(done) == ["furiosa_ep", ""]
    assert done.stderr.count("is left out") == 1
    assert text in done.stderr


def test_strict_mode_fails_the_session(folder: Path) -> None:
    done = run(folder, FURIOSA_PLUGINS="failing", FURIOSA_STRICT_PLUGINS="1")
    assert done.returncode != 0
    assert "PluginError: plugin 'failing': SystemExit: no licence" in done.stderr

"""Plugins that fail, in sessions of onnxruntime, whose results equal the CPU provider's."""

import subprocess
from pathlib import Path

import pytest

from tests.interpreter import run_program

PLUGIN = """
from furiosa_ep.plugin import GraphPass, OperatorSupport, PluginInfo, Stage, UNARY, hookimpl

def break_shapes(graph):
    for one in graph.operations:
        one.output.shape = (1,)

def lower(unit, builder):
    raise KeyError("no way")

@hookimpl
def furiosa_plugin():
    return PluginInfo({name!r}, "1.0", api_version=1)

@hookimpl
def furiosa_passes():
    return [{passes}]

@hookimpl
def furiosa_operators():
    return [{operators}]

@hookimpl
def furiosa_compiled(program):
    {heard}

@hookimpl
def furiosa_partitioned(report):
    {heard}
"""

PROGRAM = """
import json, logging, sys
import numpy as np, onnx.parser, onnxruntime as ort, furiosa_ep
logging.basicConfig(format="%(message)s", stream=sys.stderr)
model = onnx.parser.parse_model('''
    <ir_version: 9, opset_import: ["" : 21]>
    g (uint8[1,1,4,4] x) => (uint8[1,1,3,3] y) <float s = {1.0}, uint8 z = {0}> {
        f = DequantizeLinear(x, s, z)
        n = Neg(f)
        q = QuantizeLinear(n, s, z)
        d = DequantizeLinear(q, s, z)
        m = MaxPool <kernel_shape = [2, 2]> (d)
        y = QuantizeLinear(m, s, z)
    }
''').SerializeToString()
furiosa_ep.register()
own = {"claim": "all", "summary": "off"}
rows = furiosa_ep.explain(model, own).rows
print(*((row.op_type, row.plugin, row.code) for row in rows if "Linear" not in row.op_type))
npu = ort.InferenceSession(model, providers=[("FuriosaProvider", own), "CPUExecutionProvider"])
cpu = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
x = {"x": np.random.default_rng(0).integers(0, 256, (1, 1, 4, 4), np.uint8)}
np.testing.assert_array_equal(npu.run(None, x)[0], cpu.run(None, x)[0])
"""
OVERRIDE = "OperatorSupport('Neg', lower, UNARY, priority=1)"


def run(folder: Path, strict: str = "", **plugins: str) -> subprocess.CompletedProcess[str]:
    for name, what in plugins.items():
        parts = {"passes": "", "operators": "", "heard": "pass"}
        key = "heard" if "raise" in what else "operators" if "Support" in what else "passes"
        (folder / f"{name}.py").write_text(PLUGIN.format(name=name, **{**parts, key: what}))
    return run_program(
        PROGRAM,
        folders=[folder],
        FURIOSA_PLUGINS=",".join(plugins),
        FURIOSA_STRICT_PLUGINS=strict,
    )


EVERY = {
    "shapes": "GraphPass('break-shapes', break_shapes)",
    "late": "GraphPass('break-late', break_shapes, Stage.FINISH)",
    "lowers": OVERRIDE,
    "hears": "raise ValueError('deaf')",
}
WARNINGS = {
    "shapes": "passes of plugin 'shapes' are left out of this session: pass break-shapes: after it",
    "late": "passes of plugin 'late' are left out of this session: pass break-late: after it: ",
    "lowers": "plugin 'lowers' is left out of this session: lowering of 'Neg(n)' failed: KeyError",
    "hears": "plugin 'hears' is told of nothing more: furiosa_partitioned: ValueError: deaf",
}


def test_a_session_with_all_of_them_is_as_without(tmp_path: Path) -> None:
    done = run(tmp_path, **EVERY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "('Neg', 'furiosa_ep', '') ('MaxPool', 'furiosa_ep', '')"
    lines = done.stderr.splitlines()
    for name, warning in WARNINGS.items():
        found = [line for line in lines if f"'{name}'" in line]
        # Of a lowering, once to explain and once for the session.
        assert len(found) == (2 if name == "lowers" else 1), done.stderr
        assert found[0].startswith(warning)


@pytest.mark.parametrize("name", EVERY)
def test_in_strict_mode_the_session_fails_with_the_reason(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, "1", **{name: EVERY[name]})
    assert done.returncode != 0
    assert f"PluginError: plugin '{name}': " in done.stderr

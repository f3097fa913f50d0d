"""The operator that docs/plugins describes, as an installed package used by a program."""

import re
from pathlib import Path

from tests.interpreter import run_program

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import numpy as np, onnx.parser, onnxruntime as ort, furiosa_ep
model = onnx.parser.parse_model('''
    <ir_version: 9, opset_import: ["" : 21]>
    g (uint8[1,256] x) => (uint8[1,256] y) <float s = {0.02}, uint8 z = {128}, float half = {0.5}> {
        f = DequantizeLinear(x, s, z)
        t = Mod<fmod=1>(f, half)
        y = QuantizeLinear(t, s, z)
    }
''').SerializeToString()
furiosa_ep.register()
(row,) = furiosa_ep.explain(model, {"claim": "all"}).units
assert row.partition == 0, row.decline
feed = {"x": np.arange(256, dtype=np.uint8).reshape(1, 256)}
npu = ort.InferenceSession(model, providers=[("FuriosaProvider", {"claim": "all"})])
cpu = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
np.testing.assert_array_equal(npu.run(None, feed)[0], cpu.run(None, feed)[0])
"""

INFO = """
from furiosa_ep.plugin import PluginInfo

@hookimpl
def furiosa_plugin():
    return PluginInfo("mod", "1.0")
"""


def test_the_documented_plugin_works_when_installed(tmp_path: Path) -> None:
    docs = ROOT / "docs" / "plugins"
    page = (docs / "hooks" / "furiosa_operators.md").read_text(encoding="utf-8")
    _, _, example = page.partition("## Example")
    code = re.findall(r"```python\n(.*?)```", example, re.DOTALL)[0]
    text = (docs / "README.md").read_text(encoding="utf-8")
    (entry_points,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "mod_plugin.py").write_text(code + INFO)
    metadata = tmp_path / "mod_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mod-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        entry_points.replace("project.entry-points.", "").replace('"', "")
    )
    done = run_program(PROGRAM, folders=[tmp_path])
    assert done.returncode == 0, done.stderr
    assert "FuriosaProvider: 1 of 1 node units (3 of 3 nodes) in 1 partition" in done.stderr

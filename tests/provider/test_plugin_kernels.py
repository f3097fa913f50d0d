"""Kernels of plugins in sessions of onnxruntime, beside the CPU provider."""

import subprocess
from pathlib import Path

import pytest

from tests.interpreter import run_program

PLUGIN = """
import numpy as np
from furiosa_ep.plugin import (
    DeclineCode, Kernel, NativeKernel, OperatorSupport, PluginInfo, UNARY, hookimpl, kernel_lowering
)

def inverse(frame):
    x, y = frame.inputs[0], frame.output
    if frame.attributes["fails"]:
        raise ValueError("asked to fail")
    y.array[...] = 255 - x.array

@hookimpl
def furiosa_plugin():
    return PluginInfo("acme", "1.0", api_version=1)

@hookimpl
def furiosa_kernels():
    native = (NativeKernel("no/such/library.so", "invert"),) if {missing} else ()
    return [Kernel("ACME_INVERT", "x:u8 -> y:u8", inverse, attributes="fails", native=native)]

@hookimpl
def furiosa_operators():
    attributes = lambda unit: {{"fails": {fails}}}
    lower = kernel_lowering("ACME_INVERT", attributes)
    return [OperatorSupport("Neg", lower, UNARY, priority=1, kernels=("ACME_INVERT",))]
"""

PROGRAM = """
import json, logging, sys
import numpy as np, onnx.parser, onnxruntime as ort, furiosa_ep
logging.basicConfig(format="%(message)s", stream=sys.stderr)
model = onnx.parser.parse_model('''
    <ir_version: 9, opset_import: ["" : 21]>
    g (uint8[1,2,3,4] x) => (uint8[1,2,3,4] y) <float s = {1.0}, uint8 a = {0}, uint8 b = {255}> {
        f = DequantizeLinear(x, s, a)
        [the_negation] t = Neg(f)
        y = QuantizeLinear(t, s, b)
    }
''').SerializeToString()
furiosa_ep.register()
own = {"claim": "all", "summary": "off", **json.loads(sys.argv[1])}
row = furiosa_ep.explain(model, own).rows[1]
print(row.plugin, row.code, *row.python_kernels, sep="|")
npu = ort.InferenceSession(model, providers=[("FuriosaProvider", own), "CPUExecutionProvider"])
cpu = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
x = {"x": np.random.default_rng(0).integers(0, 256, (1, 2, 3, 4), np.uint8)}
np.testing.assert_array_equal(npu.run(None, x)[0], cpu.run(None, x)[0])
"""


def run(
    folder: Path, options: str = "{}", *, fails: int = 0, missing: bool = False
) -> subprocess.CompletedProcess[str]:
    (folder / "acme.py").write_text(PLUGIN.format(fails=fails, missing=missing))
    return run_program(PROGRAM, options, folders=[folder], FURIOSA_PLUGINS="acme")


ALLOW = '{"python_kernels": "allow"}'


def test_a_numpy_kernel_runs_where_the_session_allows_it(tmp_path: Path) -> None:
    done = run(tmp_path, ALLOW)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "acme||ACME_INVERT"


def test_a_numpy_kernel_is_declined_by_default(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "|no-kernel"


def test_a_kernel_that_fails_fails_the_run_and_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, ALLOW, fails=1)
    assert done.returncode != 0
    expected = "plugin 'acme', kernel 'ACME_INVERT', node 'the_negation': ValueError: asked to fail"
    assert expected in done.stderr


@pytest.mark.parametrize("options", ["{}", ALLOW])
def test_a_plugin_whose_library_is_missing_is_left_out(tmp_path: Path, options: str) -> None:
    done = run(tmp_path, options, missing=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "furiosa_ep|"
    (warning,) = (line for line in done.stderr.splitlines() if "left out" in line)
    for text in ("plugin 'acme' is left out", "ACME_INVERT", "no/such/library.so"):
        assert text in warning

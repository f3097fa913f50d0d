"""What does not fit into a device is run by ONNX Runtime's CPU provider; sessions do not fail."""

from pathlib import Path

from tests.interpreter import run_program

PLUGIN = """
from furiosa_ep.plugin import (
    Kernel, KernelCost, OperatorSupport, PluginInfo, Target, UNARY, hookimpl, kernel_lowering
)

def inverse(frame):
    frame.output.array[...] = 255 - frame.inputs[0].array

@hookimpl
def furiosa_plugin():
    return PluginInfo("acme", "1.0", api_version=1)

@hookimpl
def furiosa_targets():
    return [Target("little", sram_bytes=4096, dram_bytes=30_000)]

@hookimpl
def furiosa_kernels():
    return [Kernel("ACME_INVERT", "x:u8 -> y:u8", inverse, cost=lambda _: KernelCost(4096 << 20))]

@hookimpl
def furiosa_operators():
    lower = kernel_lowering("ACME_INVERT")
    return [OperatorSupport("Neg", lower, UNARY, priority=1, kernels=("ACME_INVERT",))]
"""

PROGRAM = """
import collections
import numpy as np, onnx.parser, onnxruntime as ort, furiosa_ep
pools = "".join(f'''
    d{n + 1} = DequantizeLinear(v{n}, s, a)
    t{n + 1} = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(d{n + 1})
    v{n + 1} = QuantizeLinear(t{n + 1}, s, a)''' for n in range(12))
sums = "".join(f'''
    e{n} = DequantizeLinear({"v12" if n == 11 else f"w{n + 1}"}, s, a)
    f{n} = DequantizeLinear(v{n}, s, a)
    g{n} = Add(e{n}, f{n})
    w{n} = QuantizeLinear(g{n}, s, a)''' for n in reversed(range(12)))
model = onnx.parser.parse_model(f'''
    <ir_version: 9, opset_import: ["" : 21]> g (uint8[1,1,64,64] x) => (uint8[1,1,64,64] w0)
    <float s = {{1.0}}, uint8 a = {{0}}, uint8 b = {{255}}> {{
    c = DequantizeLinear(x, s, a)
    i = Neg(c)
    v0 = QuantizeLinear(i, s, b) {pools} {sums} }}''').SerializeToString()
furiosa_ep.register()
own = {"claim": "all", "summary": "off", "target": "little", "python_kernels": "allow"}
report = furiosa_ep.explain(model, own)
print(dict(collections.Counter(one.code for one in report.rows)))
print(next(one.code for one in report.rows if one.op_type == "Neg"))
session = ort.InferenceSession(model, providers=[("FuriosaProvider", own), "CPUExecutionProvider"])
cpu = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
x = {"x": np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64), np.uint8)}
np.testing.assert_array_equal(session.run(None, x)[0], cpu.run(None, x)[0])
(client,) = furiosa_ep.devices.clients()
print(dict(client.dram_bytes)["npu0"])
"""


def test_a_session_takes_what_fits(tmp_path: Path, host: str) -> None:
    (tmp_path / "acme.py").write_text(PLUGIN)
    result = run_program(PROGRAM, folders=[tmp_path], FURIOSA_PLUGINS="acme")
    assert result.returncode == 0, result.stderr
    codes, negation, dram = result.stdout.splitlines()
    assert "'memory-limit'" in codes
    assert "''" in codes or "None" in codes  # some of it is on the device
    assert negation == "memory-limit"
    assert 15_000 < int(dram) <= 30_000

"""Operators of a plugin's own domain on the NPU itself, beside ONNX Runtime's operators."""

from pathlib import Path

import pytest

from tests.interpreter import run_program

PLUGIN = """
import numpy as np
from furiosa_ep.plugin import (
    UNARY, Kernel, OperatorSupport, PluginInfo, Schema, hookimpl, kernel_lowering, quantized_inputs,
    quantized_output,
)

def clip_sum(inputs, attributes):
    x, y = inputs
    return np.clip(x + y, np.float32(attributes["low"]), np.float32(attributes["high"]))

def clip_sum_kernel(frame):
    x, y = (one.dequantized() for one in frame.inputs)
    frame.output.array[...] = frame.output.quantized(clip_sum((x, y), frame.attributes))

def sharpen(inputs, attributes):
    (x,) = inputs
    return x * np.abs(x)

def lower_table(unit, builder):
    x = builder.value(unit.inputs[0])
    signed = unit.outputs[0].params.signed
    builder.set(
        unit.outputs[0],
        builder.emit("Lookup", [x], x.shape, signed=signed, table=builder.table(unit)),
    )

def limits(unit):
    return {name: unit.node.attributes[name] for name in ("low", "high")}

@hookimpl
def furiosa_plugin():
    return PluginInfo("acme", "1.0")

@hookimpl
def furiosa_schemas():
    values = "x:float y:float -> z:float"
    return [
        Schema("ClipSum", "acme", values, "low:float high:float", compute=clip_sum),
        Schema("Sharpen", "acme", "x:float -> y:float", compute=sharpen),
    ]

@hookimpl
def furiosa_kernels():
    operands = "x:u8 y:u8 -> z:u8"
    return [Kernel("ACME_CLIP_SUM", operands, clip_sum_kernel, attributes="low:f high:f")]

@hookimpl
def furiosa_operators():
    constraints = (quantized_inputs(0, 1), quantized_output)
    lower = kernel_lowering("ACME_CLIP_SUM", limits)
    return [
        OperatorSupport(
            "ClipSum", lower, constraints, domain="acme", kernels=("ACME_CLIP_SUM",)
        ),
        OperatorSupport("Sharpen", lower_table, UNARY, domain="acme"),
    ]
"""

PROGRAM = """
import sys
import numpy as np, onnx.parser, onnxruntime as ort, furiosa_ep
model = onnx.parser.parse_model('''
    <ir_version: 9, opset_import: ["" : 21, "acme" : 1]>
    g ({dtype}["N",2,3,4] x) => ({dtype}["N",2,3,4] z)
    <float s = {{0.1}}, {dtype} a = {{3}}, float t = {{2.5}}, {dtype} b = {{7}}> {{
        f = DequantizeLinear(x, s, a)
        r = Relu(f)
        q = QuantizeLinear(r, s, a)
        g0 = DequantizeLinear(q, s, a)
        h = acme.Sharpen(g0)
        i = QuantizeLinear(h, t, b)
        j = DequantizeLinear(i, t, b)
        k = DequantizeLinear(q, s, a)
        sum = acme.ClipSum <low = -2.5, high = 180.75> (j, k)
        z = QuantizeLinear(sum, t, b)
    }}
''').SerializeToString()
furiosa_ep.register()
own = {{"claim": "all", "summary": "off", "python_kernels": "allow"}}
report = furiosa_ep.explain(model, own)
print([(row.op_type, row.plugin) for row in report.rows if row.plugin == "acme"])
print(len(report.partitions), {{row.provider for row in report.rows}})
options = ort.SessionOptions()
options.register_custom_ops_library(furiosa_ep.get_library_path())
cpu = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
devices = ort.SessionOptions()
found = [one for one in ort.get_ep_devices() if one.ep_name == "FuriosaProvider"]
devices.add_provider_for_devices(found, own)
policy = ort.SessionOptions()
policy.set_provider_selection_policy(ort.OrtExecutionProviderDevicePolicy.PREFER_NPU)
for key, value in own.items():
    policy.add_session_config_entry("ep.furiosaprovider." + key, value)
x = np.random.default_rng(0).integers(0, 256, (3, 2, 3, 4), np.uint8).view(np.{dtype})
expected = cpu.run(None, {{"x": x}})[0]
assert len(set(expected.flat)) > 20
for npu in (
    ort.InferenceSession(model, providers=[("FuriosaProvider", own), "CPUExecutionProvider"]),
    ort.InferenceSession(model, devices),
    ort.InferenceSession(model, policy),
):
    np.testing.assert_array_equal(npu.run(None, {{"x": x}})[0], expected)
print("equal")
"""


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_operators_of_a_plugin_equal_the_cpu_on_every_bit(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "acme.py").write_text(PLUGIN)
    done = run_program(PROGRAM.format(dtype=dtype), folders=[tmp_path], FURIOSA_PLUGINS="acme")
    assert done.returncode == 0, done.stderr
    units, providers, equal = done.stdout.splitlines()
    assert "('Sharpen', 'acme')" in units
    assert "('ClipSum', 'acme')" in units
    assert providers == "1 {'FuriosaProvider'}"
    assert equal == "equal"

"""The plugin in sessions of ONNX Runtime."""

import subprocess
import sys

import furiosa_ep
import onnx
import onnx.parser

OPTIONS = {"claim": "all"}
MODEL = """
    <ir_version: 9, opset_import: ["" : 21, "numba_kernel" : 1]>
    g (float[1,3,8,33] x) => (float[1,4,8,33] y) <
        float s = {0.02}, uint8 z = {128}, float ws = {0.05}, int8 wz = {0},
        int8[4,3,1,1] w = {3, -20, 9, 11, 30, -7, -25, 5, 14, 2, 17, -13}
    > {
        x_codes = QuantizeLinear(x, s, z)
        x_values = DequantizeLinear(x_codes, s, z)
        weights = DequantizeLinear(w, ws, wz)
        conv = Conv(x_values, weights)
        conv_codes = QuantizeLinear(conv, s, z)
        conv_values = DequantizeLinear(conv_codes, s, z)
        rows = numba_kernel.PeakNormalize <peak = 1.5> (conv_values)
        rows_codes = QuantizeLinear(rows, s, z)
        rows_values = DequantizeLinear(rows_codes, s, z)
        relu = Relu(rows_values)
        relu_codes = QuantizeLinear(relu, s, z)
        y = DequantizeLinear(relu_codes, s, z)
    }
"""


def model() -> onnx.ModelProto:
    """A quantized model with the operator between two that furiosa-ep has itself."""
    return onnx.parser.parse_model(MODEL)


def test_the_npu_takes_the_operator() -> None:
    rows = furiosa_ep.explain(model(), OPTIONS).rows
    (row,) = (row for row in rows if row.op_type == "PeakNormalize")
    assert row.plugin == "numba-kernel", row.reason
    assert {row.partition for row in rows} == {0}


def test_the_npu_computes_what_the_cpu_computes() -> None:
    result = furiosa_ep.verify(model(), runs=3, options=OPTIONS)
    assert result.difference is None
    assert set(result.nodes) == {furiosa_ep.get_ep_name()}


def test_the_plugin_passes_its_check() -> None:
    command = [sys.executable, "-m", "furiosa_ep.cli", "plugins", "check", "numba-kernel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

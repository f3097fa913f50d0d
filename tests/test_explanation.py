"""`furiosa_ep.explain`: what ONNX Runtime shows to the provider, and what becomes of it."""

import json
from collections import Counter
from pathlib import Path

import onnx
import onnx.parser
import onnxruntime as ort
import pytest

import furiosa_ep
from tests.partitioner.graphs import CONSTANTS, model
from tests.partitioner.test_partition import pool

QUANTIZED = model(
    "q = QuantizeLinear(x, s, z)"
    + pool("q", "a")
    + pool("a", "c")
    + "d = DequantizeLinear(c, s, z)"
    "y = Det(d)",
    "float[1,2,4,4] x",
    "float[1,2] y",
)


def test_each_node_has_its_provider_and_its_reason() -> None:
    report = furiosa_ep.explain(QUANTIZED)
    assert [row.op_type for row in report.rows if row.code] == ["Det"]
    (left,) = (row for row in report.rows if row.code)
    assert left.provider == "CPUExecutionProvider"
    assert left.code == "not-registered"
    assert left.mend
    assert len(report.partitions) == 1
    assert json.loads(report.to_json())["quantized_share"] == 1


def test_it_says_what_a_session_does() -> None:
    report = furiosa_ep.explain(QUANTIZED)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(
        QUANTIZED, options, providers=["FuriosaProvider", "CPUExecutionProvider"]
    )
    ran = {
        part.ep_name: Counter(node.op_type for node in part.get_nodes())
        for part in session.get_provider_graph_assignment_info()
    }
    said = {
        provider: Counter(row.op_type for row in report.rows if row.provider == provider)
        for provider in ("FuriosaProvider", "CPUExecutionProvider")
    }
    assert said == ran


def test_it_takes_paths_bytes_and_protos(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(QUANTIZED)
    proto = onnx.load_model_from_string(QUANTIZED)
    assert (
        furiosa_ep.explain(QUANTIZED).rows
        == furiosa_ep.explain(path).rows
        == furiosa_ep.explain(str(path)).rows
        == furiosa_ep.explain(proto).rows
    )


def test_options_are_those_of_the_provider() -> None:
    report = furiosa_ep.explain(QUANTIZED, {"disabled_ops": "MaxPool"})
    assert report.partitions == ()
    codes = {row.code for row in report.rows if row.op_type == "MaxPool"}
    assert codes == {"disabled-by-option"}


@pytest.mark.parametrize(
    ("body", "inputs", "outputs", "code"),
    [
        ("y = Exp(x)", "float[4] x", "float[4] y", "not-quantized"),
        (
            """y = If (k) <
                then_branch = yes () => (uint8[4] p) { p = Max(x, x) },
                else_branch = no () => (uint8[4] q) { q = Min(x, x) }
            >""",
            "uint8[4] x, bool k",
            "uint8[4] y",
            "no-kernel",
        ),
    ],
)
def test_a_model_with_nothing_for_the_npu(body: str, inputs: str, outputs: str, code: str) -> None:
    report = furiosa_ep.explain(model(body, inputs, outputs))
    assert report.partitions == ()
    assert {row.code for row in report.rows} == {code}


def test_a_model_of_constants_has_no_rows() -> None:
    report = furiosa_ep.explain(model("y = Add(half, half)", "float[4] x", "float y"))
    assert report.rows == ()
    assert report.summary() == "FuriosaProvider: 0 of 0 node units (0 of 0 nodes) in 0 partitions"


def test_local_functions_are_explained_as_onnxruntime_inlines_them() -> None:
    text = (
        '<ir_version: 9, opset_import: ["" : 21, "mine" : 1]> g (uint8[1,2,4,4] x) '
        f"=> (uint8[1,2,4,4] y) <{CONSTANTS}> {{ y = mine.f(x, s, z) }} "
        '<domain: "mine", opset_import: ["" : 21]> f (x, s, z) => (y) { ' + pool("x", "y") + "}"
    )
    report = furiosa_ep.explain(onnx.parser.parse_model(text))
    assert [row.op_type for row in report.rows] == [
        "DequantizeLinear",
        "MaxPool",
        "QuantizeLinear",
    ]
    assert len(report.partitions) == 1


def test_a_truncated_model_is_onnxruntime_s_error() -> None:
    with pytest.raises(Exception, match=r"(?i)protobuf|parse"):
        furiosa_ep.explain(QUANTIZED[:-20])

"""What users read of a decision."""

import json

import pytest

from furiosa_ep.partitioner.partition import partition_graph
from furiosa_ep.partitioner.report import Report

from .graphs import graph, registry_of
from .test_partition import POOLS, pool, unknown


@pytest.fixture
def report() -> Report:
    return partition_graph(graph(pool("x", "a") + unknown("a", "b") + pool("b", "y")), POOLS)


def test_the_summary_is_one_line_with_counts_and_codes(report: Report) -> None:
    assert report.summary() == (
        "FuriosaProvider: 2 of 3 node units (6 of 9 nodes) in 2 partitions; "
        "on the CPU: 1 x Det2 (not-registered)"
    )


def test_the_summary_names_the_most_frequent_reasons_only() -> None:
    body = "".join(f"v{i} = Odd{i % 6}(x)" for i in range(20)) + pool("x", "y")
    line = partition_graph(graph(body), POOLS).summary()
    assert "\n" not in line
    assert line.endswith(
        "on the CPU: 4 x Odd0 (not-registered), 4 x Odd1 (not-registered), "
        "3 x Odd2 (not-registered), 3 x Odd3 (not-registered), 6 more"
    )


def test_every_node_has_a_row_in_the_order_of_the_graph(report: Report) -> None:
    assert [row.index for row in report.rows] == list(range(9))
    assert [row.provider for row in report.rows] == (
        ["FuriosaProvider"] * 3 + ["CPUExecutionProvider"] * 3 + ["FuriosaProvider"] * 3
    )
    on_cpu = report.rows[4]
    assert (on_cpu.op_type, on_cpu.code) == ("Det2", "not-registered")
    assert "Det2" in on_cpu.reason
    assert on_cpu.mend


def test_json_holds_summary_share_partitions_and_nodes(report: Report) -> None:
    found = json.loads(report.to_json())
    assert found["summary"] == report.summary()
    assert found["quantized_share"] == pytest.approx(2 / 3)
    assert found["partitions"] == [[0, 1, 2], [6, 7, 8]]
    assert found["nodes"][4] == {
        "index": 4,
        "name": "",
        "op_type": "Det2",
        "unit": "Det2(bp)",
        "provider": "CPUExecutionProvider",
        "partition": None,
        "plugin": "",
        "python_kernels": [],
        "code": "not-registered",
        "reason": "No plugin supports Det2.",
        "mend": "Replace the operator, or teach the NPU in a plugin (docs/plugins).",
    }


def test_the_table_shows_each_node_and_each_reason_once(report: Report) -> None:
    lines = report.table().splitlines()
    assert lines[0].split() == ["node", "operator", "where", "why"]
    assert lines[5].split(None, 2)[0] == "4"
    assert lines[5].endswith("Det2              CPU    not-registered [1]")
    assert lines[2].split()[-4:] == ["NPU", "0", "by", "test"]
    assert lines.count("    Det2(bp)") == 1
    assert lines[-1] == report.summary()
    assert str(report) == report.table()


def test_the_quantized_share_counts_neither_borders_nor_float_operators() -> None:
    body = (
        "q = QuantizeLinear(x, s, z)" + pool("q", "a") + "f = DequantizeLinear(a, s, z) y = Exp(f)"
    )
    subject = graph(body, "float[1,2,4,4] x", "float[N,C,H,W] y")
    assert partition_graph(subject, POOLS).quantized_share == 1
    assert partition_graph(subject, registry_of()).quantized_share == 0

"""The benchmark of sessions measures what it says."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import furiosa_ep
from benchmarks import sessions
from benchmarks.models.synthetic import NETWORKS
from benchmarks.session_probe import create, megabytes, zeros


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_synthetic_networks_have_about_the_nodes_asked_for_and_run(build: sessions.Network) -> None:
    furiosa_ep.register()
    data = build(200)
    assert 150 <= len(onnx.load_model_from_string(data).graph.node) <= 250
    cpu, npu = create("CPU", data), create("NPU", data, claim="all")
    feeds = {name: x + np.uint8(9) for name, x in zeros(cpu).items()}
    np.testing.assert_array_equal(cpu.run(None, feeds)[0], npu.run(None, feeds)[0])
    assert isinstance(cpu, ort.InferenceSession)


def test_the_peak_is_no_less_than_what_is_resident() -> None:
    block = np.ones(8 << 20, np.uint8)
    resident = megabytes("VmRSS")
    assert megabytes("VmHWM") > resident - 1 > block.nbytes / 2**20


def test_one_node_models_are_measured_in_turns() -> None:
    rows = list(sessions.one_node(sessions.BURST))
    assert [row["operator"] for row in rows] == ["Conv", "Add", "Sigmoid"]
    for row in rows:
        assert float(row["NPU us"]) - float(row["CPU us"]) == pytest.approx(float(row["more us"]))


def test_tables_are_aligned() -> None:
    rows: list[sessions.Row] = [{"model": "net", "ms": 1.25}, {"model": "longer", "ms": 120.0}]
    assert sessions.table(rows) == " model    ms\n   net  1.25\nlonger   120"

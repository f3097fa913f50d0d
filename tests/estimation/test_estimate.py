"""Estimates: what follows from what."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import furiosa_ep
from furiosa_ep.cli.selftest import tiny_model
from furiosa_ep.device_emulator.target import WARBOY
from furiosa_ep.device_emulator.timing import border
from furiosa_ep.estimation import Bound, Confidence, Estimate, EstimateError, estimate, host
from furiosa_ep.estimation.placement import HostNode
from furiosa_ep.quantization import quantize_model
from tests.estimation.models import network

BESIDE = (Bound.HOST, Bound.IO)


@pytest.fixture(scope="module")
def found() -> Estimate:
    return estimate(network())


def test_the_public_name_is_there() -> None:
    assert furiosa_ep.estimate is estimate


def test_latency_is_the_sum_of_its_parts(found: Estimate) -> None:
    assert found.latency_ms == pytest.approx(found.npu_latency_ms + found.host_ms)
    layers = sum(layer.ms for layer in found.layers)
    assert layers + 1e3 * host.RUN_SECONDS == pytest.approx(found.latency_ms, rel=1e-3)
    npu = sum(layer.ms for layer in found.layers if layer.bound not in BESIDE)
    assert npu + found.transfer_ms == pytest.approx(found.npu_latency_ms, rel=1e-3)


def test_multiplications_are_counted(found: Estimate) -> None:
    expected = 32 * 16 * 16 * 27 + 64 * 16 * 16 * 32 * 9 + 64 * 10
    assert found.macs == expected
    seconds = (found.npu_latency_ms - found.transfer_ms) / 1e3
    assert found.utilization == pytest.approx(expected / (seconds * 2e9 * 8192))


def test_both_elements_compute_together() -> None:
    model = network((1, 3, 256, 256), channels=128)
    one, two = estimate(model), estimate(model, "warboy-2pe")
    assert one.npu_latency_ms / 2.5 < two.npu_latency_ms < one.npu_latency_ms
    assert (two.pes, two.memory.sram_limit) == (2, 32 << 20)


def test_a_batch_takes_longer_but_not_as_long_as_its_samples_alone() -> None:
    one, eight = estimate(network()), estimate(network(), batch=8)
    assert eight.batch == 8
    assert eight.macs == 8 * one.macs
    assert one.npu_latency_ms < eight.npu_latency_ms < 8 * one.npu_latency_ms


def test_workers_overlap_until_a_stage_is_full(found: Estimate) -> None:
    assert found.throughput_per_s == pytest.approx(1e3 / found.latency_ms)
    two, many = estimate(network(), workers=2), estimate(network(), workers=100)
    assert two.throughput_per_s == pytest.approx(2 * found.throughput_per_s)
    npu = many.npu_latency_ms - many.transfer_ms
    assert many.throughput_per_s == pytest.approx(1e3 / max(npu, many.transfer_ms))
    assert many.latency_ms == found.latency_ms


def test_devices_work_in_parallel(found: Estimate) -> None:
    two = estimate(network(), devices=2)
    assert two.throughput_per_s == pytest.approx(2 * found.throughput_per_s)
    assert two.npu_throughput_per_s == pytest.approx(2 * found.npu_throughput_per_s)


def test_floats_are_quantized_on_the_host_if_asked() -> None:
    apart = estimate(network(), float_inputs=True).host_ms - estimate(network()).host_ms
    rates = border.QUANTIZE_FLOAT_SECONDS - border.QUANTIZE_BYTE_SECONDS
    assert apart == pytest.approx(1e3 * 3 * 32 * 32 * rates)


def test_a_quantized_model_is_estimated_as_its_float_model(found: Estimate) -> None:
    samples = [np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)]
    model = quantize_model(network(), samples, "min-max")
    own = estimate(model)
    assert own.quantized
    assert own.npu_latency_ms == found.npu_latency_ms
    assert own.host_ms > found.host_ms  # its inputs are floats


def test_a_model_may_be_quantized_within_its_functions(found: Estimate) -> None:
    samples = [np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)]
    model = quantize_model(network(), samples, "min-max")
    constants = [one.name for one in model.graph.initializer]
    function = helper.make_function(
        "own", "Whole", ["x", *constants], ["y"], model.graph.node, model.opset_import
    )
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Whole", ["x", *constants], ["y"], domain="own"))
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    own = estimate(model)
    assert own.quantized
    assert own.npu_latency_ms == found.npu_latency_ms


def test_a_quantized_model_takes_a_batch() -> None:
    samples = [np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)]
    model = quantize_model(network(), samples, "min-max")
    assert estimate(model, batch=4).macs == 4 * estimate(model).macs
    opened = quantize_model(network(("n", 3, 32, 32)), samples, "min-max")
    assert estimate(opened, batch=4).macs == 4 * estimate(model).macs
    assert estimate(opened).batch == 1


def with_host_node() -> onnx.ModelProto:
    model = network()
    model.graph.node.append(helper.make_node("Einsum", ["y"], ["z"], "einsum", equation="ab->ba"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [10, 1]))
    return model


def test_what_stays_on_the_host_is_listed_with_the_reason(found: Estimate) -> None:
    own = estimate(with_host_node())
    (node,) = own.host_nodes
    assert (node.name, node.op_type, node.code) == ("einsum", "Einsum", "not-registered")
    (layer,) = (layer for layer in own.layers if layer.op == "Einsum")
    assert layer.bound is Bound.HOST
    assert layer.ms == pytest.approx(1e3 * host.node_seconds(node))
    assert "No plugin supports Einsum" in own.table()
    assert own.confidence["latency_ms"] is Confidence.LOW


def test_slow_inputs_deserve_a_hint(found: Estimate) -> None:
    assert "hint" not in found.table()
    slow = estimate(network((1, 3, 256, 256), channels=8), float_inputs=True)
    assert "the host quantizes x: floats take long" in slow.table()


def test_views_take_the_host_no_time() -> None:
    view, copy = (
        HostNode("n", op_type, "", "", macs=0, bytes=10**9) for op_type in ("Reshape", "Concat")
    )
    assert host.node_seconds(view) == host.NODE_SECONDS
    assert host.node_seconds(copy) == pytest.approx(host.NODE_SECONDS + 0.1)


def test_provider_options_count() -> None:
    own = estimate(network(), options={"disabled_ops": "GlobalAveragePool"})
    assert "disabled-by-option" in {node.code for node in own.host_nodes}
    quantized = estimate(tiny_model(), options={"disabled_ops": "Conv"})
    assert "Conv" in {node.op_type for node in quantized.host_nodes}


def test_energy_is_bounded_by_idle_and_design_power(found: Estimate) -> None:
    energy = found.energy
    assert energy.least_mj == pytest.approx(found.latency_ms)
    npu = found.npu_latency_ms - found.transfer_ms
    most = 60 * npu + 3 * (found.latency_ms - npu)
    assert energy.most_mj == pytest.approx(most)
    assert energy.least_mj < energy.tdp_40w_mj < energy.most_mj


def test_long_programs_are_loaded_in_parts(
    found: Estimate, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = found.memory.instructions
    small = {"warboy": dataclasses.replace(WARBOY, instruction_bytes=size - 1)}
    plugins = SimpleNamespace(named=lambda hook: small)
    monkeypatch.setattr("furiosa_ep.estimation.estimator.registry", lambda: plugins)
    long = estimate(network())
    loaded = sum(layer.dram_bytes for layer in long.layers)
    assert loaded - sum(layer.dram_bytes for layer in found.layers) == size
    assert long.npu_latency_ms > found.npu_latency_ms
    assert f"of {(size - 1) / 1024:.1f} KiB, loaded in parts" in long.table()


def test_the_json_has_every_figure(found: Estimate) -> None:
    shown = json.loads(found.to_json())
    for key in ("npu_latency_ms", "latency_ms", "throughput_per_s", "utilization"):
        assert shown[key] == getattr(found, key)
        assert shown["confidence"][key] in list(Confidence)
    assert {"name", "op", "ms", "bound", "macs", "utilization"} <= shown["layers"][0].keys()
    assert "runs" not in shown


def test_the_table_shows_the_longest_layers_or_all_in_order(found: Estimate) -> None:
    assert "the 2 of" in found.table(layers=2)
    rows = found.table(layers=None).split("bound by\n")[1].splitlines()
    assert len(rows) == len(found.layers)
    assert rows[0].startswith("x ")
    assert "bound by" not in found.table(layers=0)


def test_the_table_shows_the_end_of_long_names(found: Estimate) -> None:
    layer = dataclasses.replace(found.layers[0], name=f"{'a' * 20}.{'b' * 40}")
    shown = dataclasses.replace(found, layers=(layer,)).table(layers=None)
    assert shown.splitlines()[-1].startswith(f"...{'b' * 40}  ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "rngd"}, "no target 'rngd': expected one of warboy, warboy-2pe"),
        ({"workers": 0}, "workers 0: expected 1 or more"),
        ({"batch": 0}, "batch 0: expected 1 or more"),
        ({"devices": -1}, "devices -1"),
        ({"shapes": {"z": (1,)}}, "no input 'z'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(EstimateError, match=message):
        estimate(network(), **arguments)  # type: ignore[arg-type]


def test_what_onnxruntime_refuses_is_told(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[0].op_type = "Nonsense"
    with pytest.raises(EstimateError, match="Nonsense"):
        estimate(model)


def test_confidence_is_low_for_what_nobody_has_measured() -> None:
    assert estimate(network()).confidence["npu_latency_ms"] is not Confidence.HIGH
    usual = network((1, 3, 256, 256), channels=128)
    assert estimate(usual).confidence["npu_latency_ms"] is Confidence.HIGH
    spilling = estimate(network((1, 3, 1024, 1024), channels=64))
    assert spilling.confidence["npu_latency_ms"] is Confidence.MEDIUM

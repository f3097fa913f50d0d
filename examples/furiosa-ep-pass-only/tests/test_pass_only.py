"""The pass on device graphs, and in a session of ONNX Runtime."""

import logging

import furiosa_ep
import onnx.parser
import pytest
from furiosa_ep.plugin import DeviceGraph, DeviceValue, DType, Operation

from furiosa_ep_pass_only import join_transposes

MODEL = """
    <ir_version: 9, opset_import: ["" : 21]>
    g (uint8[2,3,4,5] x) => (uint8[2,3,4,5] y) <float s = {0.02}, uint8 z = {100}> {
        x_values = DequantizeLinear(x, s, z)
        last = Transpose <perm = [0, 2, 3, 1]> (x_values)
        last_codes = QuantizeLinear(last, s, z)
        last_values = DequantizeLinear(last_codes, s, z)
        first = Transpose <perm = [0, 3, 1, 2]> (last_values)
        first_codes = QuantizeLinear(first, s, z)
        first_values = DequantizeLinear(first_codes, s, z)
        relu = Relu(first_values)
        y = QuantizeLinear(relu, s, z)
    }
"""


def transposes(*perms: tuple[int, ...]) -> DeviceGraph:
    """A graph of Transpose operations in a row, and a Lookup behind them."""
    graph = DeviceGraph([DeviceValue("x", DType.U8, (2, 3, 4))])
    value = graph.inputs[0]
    for number, perm in enumerate(perms):
        result = DeviceValue(f"t{number}", DType.U8, tuple(value.shape[axis] for axis in perm))
        graph.operations.append(Operation("Transpose", [value], [result], {"perm": perm}, "t"))
        value = result
    result = DeviceValue("y", DType.U8, value.shape)
    graph.operations.append(Operation("Lookup", [value], [result], {}, "lookup"))
    graph.outputs = [result]
    return graph


def test_inverse_transposes_are_left_out() -> None:
    graph = transposes((2, 0, 1), (1, 2, 0))
    join_transposes(graph)
    assert graph.operations[-1].inputs == graph.inputs


def test_others_become_one() -> None:
    graph = transposes((2, 0, 1), (0, 2, 1), (1, 0, 2))
    join_transposes(graph)
    last = graph.operations[-2]
    assert last.inputs == graph.inputs
    assert last.attributes["perm"] == (1, 2, 0)
    assert last.output.shape == (3, 4, 2)


def test_outputs_stay() -> None:
    graph = transposes((2, 0, 1), (1, 2, 0))
    graph.outputs = [graph.operations[1].output]
    outputs = list(graph.outputs)
    join_transposes(graph)
    assert graph.outputs == outputs
    assert graph.operations[1].inputs == graph.inputs


def test_sessions_compute_the_same(caplog: pytest.LogCaptureFixture) -> None:
    model = onnx.parser.parse_model(MODEL)
    with caplog.at_level(logging.WARNING):
        result = furiosa_ep.verify(model, options={"claim": "all", "summary": "off"})
    assert result.difference is None
    assert set(result.nodes) == {furiosa_ep.get_ep_name()}
    assert not [one for one in caplog.records if "pass-only" in one.getMessage()]

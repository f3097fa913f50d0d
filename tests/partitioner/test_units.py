"""Node units: which nodes belong together, and what their operands are."""

import sys

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.graph import Graph, QuantParams
from furiosa_ep.partitioner.units import dependencies, node_units

from .graphs import graph, part_of, random_model, types, unit_types

CONV = """
    fx = DequantizeLinear(x, s, z9)
    fw = DequantizeLinear<axis=0>(w, ws, wz)
    fb = DequantizeLinear<axis=0>(bias, bs)
    c = Conv(fx, fw, fb)
"""


def test_conv_with_quantized_weights_and_bias_is_one_unit() -> None:
    (unit,) = node_units(graph(CONV + "y = QuantizeLinear(c, half, z)"))
    assert types(unit.nodes) == "DQ DQ DQ Conv Q"
    x, w, b = unit.inputs
    assert (x.name, x.params) == ("x", QuantParams(np.float32(0.1), 9, signed=False))
    assert w.params is None
    np.testing.assert_array_equal(w.scales, np.array([0.1, 0.2], np.float32))
    assert w.axis == 0
    np.testing.assert_array_equal(b.zero_points, [0, 0])
    (y,) = unit.outputs
    assert (y.name, y.params) == ("y", QuantParams(np.float32(0.5), 0, signed=False))


@pytest.mark.parametrize(
    ("activation", "quantize", "belongs"),
    [
        ("Relu(c)", "QuantizeLinear(r, s, z)", True),
        ("Relu(c)", "QuantizeLinear(r, s, z9)", False),
        ("Relu(c)", "QuantizeLinear(r, s, z8)", True),
        ("Relu(c)", "QuantizeLinear(r, s)", True),
        ("Clip(c, zero, far)", "QuantizeLinear(r, s, z)", True),
        ("Clip(c, zero, six)", "QuantizeLinear(r, s, z)", False),
        ("Clip(c, three)", "QuantizeLinear(r, s, z)", False),
        ("Clip(c)", "QuantizeLinear(r, s, z9)", True),
        ("Sigmoid(c)", "QuantizeLinear(r, s, z)", False),
    ],
)
def test_only_a_redundant_activation_belongs_to_the_group(
    activation: str, quantize: str, belongs: bool
) -> None:
    units = node_units(graph(f"{CONV} r = {activation} y = {quantize}"))
    assert (len(units) == 1) == belongs
    if not belongs:
        assert unit_types(units)[0] == "DQ DQ DQ Conv"
        assert units[0].outputs[0].params is None


def test_a_value_that_is_read_twice_ends_the_group() -> None:
    body = CONV + "y = QuantizeLinear(c, s, z) t = Tanh(c)"
    units = node_units(graph(body, outputs="uint8[N,C,H,W] y, float[N,C,H,W] t"))
    assert unit_types(units) == ["DQ DQ DQ Conv", "Q", "Tanh"]


def test_a_graph_output_ends_the_group() -> None:
    body = CONV + "y = QuantizeLinear(c, s, z)"
    units = node_units(graph(body, outputs="uint8[N,C,H,W] y, float[N,C,H,W] c"))
    assert unit_types(units) == ["DQ DQ DQ Conv", "Q"]


def test_a_value_that_a_subgraph_captures_ends_the_group() -> None:
    body = (
        CONV
        + """
        y = QuantizeLinear(c, s, z)
        v = If (k) <
            then_branch = yes () => (float[N] p) { p = Identity(c) },
            else_branch = no () => (float[N] q) { q = Identity(three) }
        >
    """
    )
    units = node_units(
        graph(body, "uint8[1,2,4,4] x, bool k", "uint8[N,C,H,W] y, float[N,C,H,W] v")
    )
    assert sorted(unit_types(units)) == ["DQ DQ DQ Conv", "If", "Q"]


def test_a_shared_dequantize_is_a_unit_of_its_own() -> None:
    body = """
        f = DequantizeLinear(x, s, z)
        a = Tanh(f) y = QuantizeLinear(a, s, z)
        p = MaxPool<kernel_shape=[2,2]>(f) v = QuantizeLinear(p, s, z)
    """
    units = node_units(graph(body, outputs="uint8[N,C,H,W] y, uint8[N,C,H,W] v"))
    assert sorted(unit_types(units)) == ["DQ", "MaxPool", "Q", "Q", "Tanh"]


def test_one_dequantize_for_both_inputs_of_a_node_belongs_to_it() -> None:
    (unit,) = node_units(
        graph("f = DequantizeLinear(x, s, z) a = Add(f, f) y = QuantizeLinear(a, s, z)")
    )
    assert types(unit.nodes) == "DQ Add Q"
    assert [one.name for one in unit.inputs] == ["x", "x"]


def test_every_output_of_a_group_is_quantized() -> None:
    body = """
        f = DequantizeLinear(x, s, z) a, c = Split<axis=1, num_outputs=2>(f)
        y = QuantizeLinear(a, s, z) v = QuantizeLinear(c, s, z)
    """
    (unit,) = node_units(graph(body, outputs="uint8[N,C,H,W] y, uint8[N,C,H,W] v"))
    assert types(unit.nodes) == "DQ Split Q Q"
    assert [one.name for one in unit.outputs] == ["y", "v"]


def test_one_output_in_float_keeps_all_quantize_out() -> None:
    body = """
        f = DequantizeLinear(x, s, z) a, c = Split<axis=1, num_outputs=2>(f)
        y = QuantizeLinear(a, s, z)
    """
    units = node_units(graph(body, outputs="uint8[N,C,H,W] y, float[N,C,H,W] c"))
    assert unit_types(units) == ["DQ Split", "Q"]


def test_an_output_that_nobody_reads_does_not_matter() -> None:
    body = """
        f = DequantizeLinear(x, s, z) a, c = Split<axis=1, num_outputs=2>(f)
        y = QuantizeLinear(a, s, z)
    """
    (unit,) = node_units(graph(body))
    assert [(one.name, one.params is None) for one in unit.outputs] == [("y", False), ("c", True)]


@pytest.mark.parametrize(
    ("body", "nodes"),
    [
        # HardSwish as an exporter writes it.
        (
            "f = DequantizeLinear(x, s, z9) g = DequantizeLinear(x, s, z9) a = Add(f, three)"
            "c = Clip(a, zero, six) m = Mul(g, c) d = Div(m, six) y = QuantizeLinear(d, s, z)",
            "DQ DQ Add Clip Mul Div Q",
        ),
        ("f = DequantizeLinear(x, s, z9) y = QuantizeLinear(f, half, z)", "DQ Q"),
        (
            "f = DequantizeLinear(x, s, z9) a = Tanh(f) r = Relu(a) y = QuantizeLinear(r, s, z9)",
            "DQ Tanh Relu Q",
        ),
    ],
)
def test_elementwise_operators_of_one_value_are_a_chain(body: str, nodes: str) -> None:
    (unit,) = node_units(graph(body))
    assert unit.chain
    assert types(unit.nodes) == nodes
    assert unit.key == ("furiosa", "Chain")
    assert [one.name for one in unit.inputs] == ["x"]
    assert [one.name for one in unit.outputs] == ["y"]


def test_a_chain_shares_a_dequantize_among_its_operators() -> None:
    body = """
        f = DequantizeLinear(x, s, z9) a = Sigmoid(f) m = Mul(f, a) y = QuantizeLinear(m, s, z)
    """
    (unit,) = node_units(graph(body))
    assert types(unit.nodes) == "DQ Sigmoid Mul Q"
    assert [one.name for one in unit.inputs] == ["x"]


def test_a_dequantize_that_leaves_a_chain_ends_it() -> None:
    body = """
        f = DequantizeLinear(x, s, z9) a = Sigmoid(f) m = Mul(f, a) y = QuantizeLinear(m, s, z)
        d = Det(f)
    """
    units = node_units(graph(body, outputs="uint8[N,C,H,W] y, float[N,C] d"))
    assert unit_types(units) == ["DQ", "Sigmoid", "Mul", "Q", "Det"]


def test_one_elementwise_operator_is_a_group_and_no_chain() -> None:
    (unit,) = node_units(
        graph("f = DequantizeLinear(x, s, z) a = Tanh(f) y = QuantizeLinear(a, s, z)")
    )
    assert not unit.chain
    assert unit.key == ("", "Tanh")


def test_a_result_that_is_quantized_twice_is_a_chain() -> None:
    body = """
        f = DequantizeLinear(x, s, z) a = Tanh(f)
        y = QuantizeLinear(a, s, z) v = QuantizeLinear(a, half, z)
    """
    (unit,) = node_units(graph(body, outputs="uint8[N,C,H,W] y, uint8[N,C,H,W] v"))
    assert unit.chain
    scales = [one.params.scale for one in unit.outputs if one.params]
    assert scales == [np.float32(0.1), np.float32(0.5)]


def test_a_chain_lists_every_value_that_it_reads() -> None:
    body = """
        f = DequantizeLinear(x, s, z) g = DequantizeLinear(v, s, z9)
        a = Add(f, g) t = Relu(a) y = QuantizeLinear(t, s, z9)
    """
    (unit,) = node_units(graph(body, "uint8[1,2,4,4] x, uint8[1,2,4,4] v"))
    assert unit.chain
    assert [one.name for one in unit.inputs] == ["x", "v"]


def test_what_leaves_a_chain_does_not_come_back() -> None:
    body = """
        f = DequantizeLinear(x, s, z) t = Tanh(f)
        q = QuantizeLinear(t, s, z)
        p = MaxPool<kernel_shape=[1,1]>(q)
        g = DequantizeLinear(p, s, z9) m = Mul(t, g) y = QuantizeLinear(m, s, z)
    """
    units = node_units(graph(body))
    assert unit_types(units) == ["DQ Tanh", "Q", "MaxPool", "DQ Mul Q"]


def test_a_float_value_from_elsewhere_keeps_operators_apart() -> None:
    body = """
        f = DequantizeLinear(x, s, z) a = Add(f, v) t = Tanh(a) y = QuantizeLinear(t, s, z)
    """
    units = node_units(graph(body, "uint8[1,2,4,4] x, float[1,2,4,4] v"))
    assert unit_types(units) == ["DQ Add", "Tanh", "Q"]


def test_operators_on_bytes_and_lone_borders_are_single_nodes() -> None:
    body = """
        q = QuantizeLinear(x, s, z) p = MaxPool<kernel_shape=[2,2]>(q) y = DequantizeLinear(p, s, z)
    """
    units = node_units(graph(body, "float[1,2,4,4] x", "float[N,C,H,W] y"))
    assert unit_types(units) == ["Q", "MaxPool", "DQ"]
    quantize, pool, dequantize = units
    assert quantize.inputs[0].params is None
    assert quantize.outputs[0].params is not None
    assert pool.inputs[0].params is None
    assert dequantize.inputs[0].params is not None


@pytest.mark.parametrize("zero", ["uint16 zp = {0}", "int16 zp = {0}", "uint4 zp = {0}"])
def test_other_integer_types_have_no_params(zero: str) -> None:
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> g (float[4] x) => (float[4] y) '
        f"<float s = {{0.1}}, {zero}> "
        "{ q = QuantizeLinear(x, s, zp) y = DequantizeLinear(q, s, zp) }"
    )
    units = node_units(Graph.from_model(onnx.parser.parse_model(text)))
    assert units[0].outputs[0].params is None
    assert units[1].inputs[0].params is None


def test_per_channel_and_computed_scales_of_activations_have_no_params() -> None:
    body = """
        f = DequantizeLinear<axis=1>(x, ws) a = Tanh(f) y = QuantizeLinear(a, k, z)
    """
    (unit,) = node_units(graph(body, "uint8[1,2,4,4] x, float k"))
    assert unit.inputs[0].params is None
    assert unit.outputs[0].params is None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40), st.sets(st.integers(0, 40)))
def test_any_graph_is_divided_into_convex_units_in_order(
    choices: list[int], outputs: set[int]
) -> None:
    random_graph = Graph.from_model(random_model(choices, outputs))
    units = node_units(random_graph)
    members = [node.index for unit in units for node in unit.nodes]
    assert sorted(members) == [node.index for node in random_graph.nodes]
    # Units that only read earlier units have no cycle among them: each is convex.
    for position, reads in enumerate(dependencies(units, random_graph)):
        assert all(one < position for one in reads)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=30),
    st.sets(st.integers(0, 30)),
    st.data(),
)
def test_units_are_the_same_in_a_graph_of_some_of_them(
    choices: list[int], outputs: set[int], data: st.DataObject
) -> None:
    proto = random_model(choices, outputs)
    whole = Graph.from_model(proto)
    chosen = [unit for unit in node_units(whole) if data.draw(st.booleans())]
    found = node_units(part_of(proto, chosen))
    expected = sorted((unit.chain, tuple(n.label for n in unit.nodes)) for unit in chosen)
    assert sorted((unit.chain, tuple(n.label for n in unit.nodes)) for unit in found) == expected


def test_work_is_linear_in_the_number_of_nodes() -> None:
    def calls(count: int) -> int:
        one_region = random_model([2 + 9 * step for step in range(count)], set())
        subject = Graph.from_model(one_region)
        counted = 0

        def count_call(*_: object) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count_call)
        try:
            node_units(subject)
        finally:
            sys.setprofile(None)
        return counted

    assert calls(4_000) < 11 * calls(400)

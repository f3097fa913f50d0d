"""Operands from scales and zero points that are constants of the graph."""

import numpy as np

from furiosa_ep.graph import QuantParams
from furiosa_ep.partitioner.quantization import quantized_operand
from furiosa_ep.partitioner.support import Operand

from .graphs import graph

SUBJECT = graph("y = Identity(x)", "uint8[1,2,4,4] x, int8[4] i, float k")


def test_an_activation_has_per_tensor_params() -> None:
    assert quantized_operand(SUBJECT, "x", "s", "z9") == Operand(
        "x", QuantParams(np.float32(0.1), 9, signed=False)
    )


def test_without_zero_point_it_is_0_of_the_value_s_type() -> None:
    unsigned = quantized_operand(SUBJECT, "x", "s").params
    signed = quantized_operand(SUBJECT, "i", "s").params
    assert unsigned == QuantParams(np.float32(0.1), 0, signed=False)
    assert signed == QuantParams(np.float32(0.1), 0, signed=True)


def test_a_constant_has_scales_per_channel_with_the_axis() -> None:
    found = quantized_operand(SUBJECT, "w", "ws", "wz", axis=0)
    assert found.scales is not None
    assert found.params is None
    np.testing.assert_array_equal(found.scales, np.array([0.1, 0.2], np.float32))
    np.testing.assert_array_equal(found.zero_points, [0, 0])
    assert found.axis == 0


def test_a_constant_with_one_scale_has_shape_0_and_no_axis() -> None:
    found = quantized_operand(SUBJECT, "w", "half", axis=0)
    assert found.scales is not None
    assert found.scales.shape == ()
    assert found.axis is None


def test_computed_scales_leave_params_out() -> None:
    assert quantized_operand(SUBJECT, "x", "k", "z") == Operand("x", None)
    assert quantized_operand(SUBJECT, "w", "k") == Operand("w", None)
    assert quantized_operand(SUBJECT, "w", "ws", "z") == Operand("w", None)


def test_an_absent_value_has_no_name() -> None:
    assert quantized_operand(SUBJECT, "", "s") == Operand("", None)


def test_scales_and_zero_points_do_not_depend_on_the_graph_s_memory() -> None:
    found = quantized_operand(SUBJECT, "w", "ws", "wz", axis=0)
    for copied, name in ((found.scales, "ws"), (found.zero_points, "wz")):
        constant = SUBJECT.constant(name)
        assert copied is not None
        assert constant is not None
        assert not np.shares_memory(copied, constant)

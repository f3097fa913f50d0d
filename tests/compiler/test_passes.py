from collections.abc import Sequence

import numpy as np
import pytest

from furiosa_ep.compiler.opcodes import add_coefficients
from furiosa_ep.graph import DeviceGraph, DeviceValue, QuantParams, Table
from tests.compiler.device_graphs import Maker
from tests.compiler.test_codegen import check


def kinds(graph: DeviceGraph) -> list[str]:
    return [operation.kind for operation in graph.operations]


def optimized(graph: DeviceGraph) -> list[str]:
    """The kinds that are left; the Program must compute what the graph did before."""
    check(graph, optimized=True)
    return kinds(graph)


def test_silu_is_one_table_in_the_convolution() -> None:
    m = Maker()
    x = m.conv(m.input(1, 3, 4, 4), 5)
    y = m.mul(x, m.lookup(x))
    assert optimized(m.output(m.max_pool(y))) == ["Conv", "MaxPool"]


def test_hard_swish_by_parts_is_one_table() -> None:
    m = Maker()
    x = m.max_pool(m.input(1, 3, 4, 4))
    three = m.constant(np.full((1, 1, 1, 1), 200, np.uint8))
    clipped = m.lookup(m.add(x, three))
    y = m.lookup(m.mul(clipped, m.lookup(x)))
    assert optimized(m.output(y)) == ["MaxPool"]


def test_functions_of_two_values_stay() -> None:
    m = Maker()
    a, b = m.input(2, 3), m.input(2, 3)
    row = m.constant(np.arange(3, dtype=np.uint8))
    y = m.add(m.mul(a, m.lookup(b)), row)
    assert optimized(m.output(y)) == ["Lookup", "Mul", "Add"]


def test_a_constant_for_each_channel_is_a_table_for_each() -> None:
    m = Maker()
    x = m.conv(m.input(1, 3, 16, 16), 5)
    bias = m.constant(np.arange(5, dtype=np.uint8).reshape(5, 1, 1))
    scale = m.constant(np.arange(100, 200, 20, dtype=np.uint8).reshape(1, 5, 1, 1))
    y = m.lookup(m.mul(scale, m.add(x, bias)), 1)
    assert optimized(m.output(y)) == ["Conv"]


@pytest.mark.parametrize(
    ("image", "constant"),
    [((5, 16, 15), (5, 1, 1)), ((5, 16, 16), (16, 1)), ((5, 16, 16), (5, 16, 16)), ((5,), (5,))],
    ids=["too few pixels", "of each row", "of each element", "no image"],
)
def test_a_constant_that_is_not_of_each_channel_stays(
    image: tuple[int, ...], constant: tuple[int, ...]
) -> None:
    m = Maker()
    values = np.arange(np.prod(constant)).astype(np.uint8).reshape(constant)
    assert optimized(m.output(m.add(m.input(1, *image), m.constant(values)))) == ["Add"]


def test_a_function_that_changes_the_shape_stays() -> None:
    m = Maker()
    x = m.input(3, 1)
    y = m.add(x, m.constant(np.ones((1, 1, 1), np.uint8)))
    assert y.shape == (1, 3, 1)
    assert optimized(m.output(y)) == ["Add"]


def test_lookups_in_a_row_are_one() -> None:
    m = Maker()
    x = m.input(2, 3, 4)
    assert optimized(m.output(m.lookup(m.lookup(m.lookup(x), 1), 1))) == ["Lookup"]


def test_lookups_along_different_axes_stay_two() -> None:
    m = Maker()
    x = m.input(2, 3, 4)
    assert optimized(m.output(m.lookup(m.lookup(x, 1), 2))) == ["Lookup", "Lookup"]


def slices(m: Maker, x: DeviceValue, *bounds: tuple[int, int]) -> list[DeviceValue]:
    """Slices of the channels of `x`, each looked up in the same table."""
    values = m.random.integers(0, 256, 256, np.uint8)
    return [
        m.emit("Lookup", m.slice(x, 1, start, end - start), table=Table(lambda: values.copy()))
        for start, end in bounds
    ]


def test_halves_that_are_concatenated_again_are_moved_together() -> None:
    m = Maker()
    x = m.max_pool(m.input(1, 6, 4, 4))
    other = m.conv(m.slice(x, 1, 3, 3), 2)
    y = m.concat(*slices(m, x, (0, 3), (3, 6)), other, axis=1)
    assert optimized(m.output(y)) == ["MaxPool", "Slice", "Conv", "Lookup", "Concat"]


def test_a_part_of_neighbouring_slices_stays_a_slice() -> None:
    m = Maker()
    x = m.max_pool(m.input(1, 9, 4, 4))
    y = m.concat(*slices(m, x, (1, 3), (3, 4), (4, 8), (2, 4)), axis=1)
    assert optimized(m.output(y)).count("Slice") == 2


@pytest.mark.parametrize("bounds", [((3, 6), (0, 3)), ((0, 3), (4, 6)), ((0, 3), (2, 6))])
def test_slices_that_are_no_neighbours_stay(bounds: Sequence[tuple[int, int]]) -> None:
    m = Maker()
    x = m.max_pool(m.input(1, 6, 4, 4))
    assert optimized(m.output(m.concat(*slices(m, x, *bounds), axis=1))).count("Slice") == 2


def test_neighbouring_slices_with_different_tables_stay() -> None:
    m = Maker()
    x = m.max_pool(m.input(1, 6, 4, 4))
    (low,), (high,) = slices(m, x, (0, 3)), slices(m, x, (3, 6))
    assert optimized(m.output(m.concat(low, high, axis=1))).count("Slice") == 2


def test_identity_tables_vanish() -> None:
    m = Maker()
    x = m.input(2, 3)
    codes = np.arange(256, dtype=np.uint8)
    same = m.emit("Lookup", x, table=Table(lambda: codes))
    assert optimized(m.output(m.add(same, m.input(2, 3)), same)) == ["Add"]


def test_a_value_that_is_read_twice_keeps_its_table_apart() -> None:
    m = Maker()
    x = m.conv(m.input(1, 3, 4, 4), 5)
    assert optimized(m.output(m.lookup(x), x)) == ["Conv", "Lookup"]


def test_tables_go_through_movements_into_every_producer() -> None:
    m = Maker()
    x = m.input(1, 3, 4, 4)
    padded = m.pad(m.max_pool(m.input(1, 2, 4, 4)), [0, 0, 0, 0, 0, 0, 1, 1], 5)
    joined = m.concat(m.conv(x, 4), padded, m.lookup(x), axis=1)
    y = m.lookup(m.transpose(m.reshape(joined, 1, 9, 16), 0, 2, 1))
    graph = m.output(m.reshape(y, 144))
    assert optimized(graph).count("Lookup") == 1  # the one that reads the input
    assert sum("table" in one.attributes for one in graph.operations) == 3


def test_tables_for_each_channel_go_into_convolutions_only() -> None:
    m = Maker()
    x = m.input(1, 3, 4, 4)
    y, z = m.lookup(m.conv(x, 5), 1), m.lookup(m.add(x, m.input(3, 4, 4)), 1)
    assert optimized(m.output(y, z)) == ["Conv", "Add", "Lookup"]


@pytest.mark.parametrize("first", [False, True])
def test_a_residual_add_goes_into_the_convolution(first: bool) -> None:
    m = Maker()
    x = m.input(1, 4, 5, 5)
    y = m.lookup(m.conv(x, 4, 3, 1))
    total = m.lookup(m.add(x, y) if first else m.add(y, x))
    graph = m.output(m.max_pool(total))
    assert optimized(graph) == ["Conv", "MaxPool"]
    attributes = graph.operations[0].attributes
    assert attributes["residual"].first == first
    assert attributes.keys() >= {"table", "residual_table"}


def test_the_later_of_two_convolutions_takes_the_add() -> None:
    m = Maker()
    x = m.input(1, 4, 5, 5)
    late_operand = m.max_pool(m.pad(x, [0, 0, 0, 0, 0, 0, 1, 1]))
    a, b = m.conv(x, 4), m.conv(x, 4)
    graph = m.output(m.add(a, b), m.add(m.conv(x, 4), late_operand))
    names = [one.name for one in graph.operations]
    optimized(graph)
    assert kinds(graph).count("Add") == 0
    fused = [one for one in graph.operations if "residual" in one.attributes]
    assert [one.name.split(" + ")[0] for one in fused] == [names[3], names[5]]


def test_an_add_that_broadcasts_or_whose_operand_is_needed_stays() -> None:
    m = Maker()
    x = m.input(1, 4, 5, 5)
    y, z = m.conv(x, 4), m.conv(x, 4)
    small = m.input(1, 4, 1, 1)
    graph = m.output(m.add(y, x), y, m.add(z, small))
    assert optimized(graph) == ["Conv", "Conv", "Add", "Add"]


@pytest.mark.parametrize(("scale", "fused"), [(1e-6, True), (1e-9, False), (1e-45, False)])
def test_an_add_that_may_exceed_int32_stays(scale: float, fused: bool) -> None:
    m = Maker()
    x = m.input(1, 4, 5, 5)
    graph = m.output(m.add(m.conv(x, 4), x, scale))
    assert ("Add" not in optimized(graph)) == fused


def test_an_add_is_never_fused_twice() -> None:
    m = Maker()
    x = m.input(1, 4, 5, 5)
    y = m.add(m.add(m.conv(x, 4), x), m.lookup(x))
    assert sorted(optimized(m.output(y))) == ["Add", "Conv", "Lookup"]


def test_zero_padding_is_the_convolutions_own() -> None:
    m = Maker()
    x = m.input(1, 4, 5, 5)
    spatial = m.conv(m.pad(x, [0, 0, 1, 2, 0, 0, 0, 1], 128), 3, 3)
    other = m.conv(m.pad(x, [0, 0, 1, 2, 0, 0, 0, 1], 127), 3, 3)
    channels = m.conv(m.pad(x, [0, 1, 0, 0, 0, 0, 0, 0], 128), 3, 3)
    graph = m.output(spatial, other, channels)
    assert optimized(graph).count("Pad") == 2
    assert graph.operations[0].attributes["pads"] == (1, 2, 0, 1)


def test_what_nothing_reads_is_removed() -> None:
    m = Maker()
    x = m.input(2, 3)
    m.lookup(m.add(x, x))
    assert optimized(m.output(m.reshape(x, 6))) == ["Reshape"]


def test_thousands_of_operations_in_a_row() -> None:
    m = Maker()
    x = m.input(1, 2)
    chain = x
    for _ in range(3_000):
        chain = m.lookup(m.transpose(m.reshape(chain, 1, 2), 1, 0))
    nested = x
    for _ in range(1_500):
        nested = m.concat(m.lookup(nested), axis=0)
    assert optimized(m.output(chain, nested)).count("Lookup") == 2


def test_add_coefficients_round_as_onnxruntime_does() -> None:
    params = [QuantParams(np.float32(s), z, False) for s, z in ((0.1, 7), (0.3, 91), (0.07, 200))]
    a_scale, b_scale, offset = add_coefficients(*params)
    a, b, y = (np.float64(np.float32(s)) for s in (0.1, 0.3, 0.07))
    assert a_scale == np.float32(a / y)
    assert b_scale == np.float32(b / y)
    exact = np.float64(a_scale) * 7 + np.float64(np.float32(np.float64(b_scale) * 91))
    assert offset == np.float32(200 - np.float64(np.float32(exact)))

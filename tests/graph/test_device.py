"""Copies of device graphs: equal, apart, and unable to write what they share."""

import numpy as np
import pytest

from furiosa_ep.device_emulator import checksum
from furiosa_ep.graph import DeviceGraph, Operation, Table
from tests.compiler.device_graphs import BLEND, Maker, random_graph
from tests.compiler.kind_samples import sample
from tests.compiler.test_codegen import compiled


def graph() -> DeviceGraph:
    m = Maker()
    x = m.input(1, 4, 5, 5)
    y = m.lookup(m.conv(x, 4))
    z = m.emit("Lookup", x, table=m.graph.operations[-1].attributes["table"])
    gathered = m.emit("Gather", m.add(y, z), axis=1, indices=np.array([2, 0, 1]))
    return m.output(gathered, y, y)


def last(graph: DeviceGraph) -> Operation:
    return graph.operations[-1]


def test_a_copy_makes_the_same_program() -> None:
    for seed in range(100):
        original = random_graph(seed)
        copy = original.copy()
        assert compiled(copy).to_bytes(checksum) == compiled(original).to_bytes(checksum)


def test_a_copy_has_operations_values_and_lists_of_its_own() -> None:
    original = graph()
    copy = original.copy()
    assert not set(copy.operations) & set(original.operations)
    assert not {*copy.inputs, *copy.outputs} & {*original.inputs, *original.outputs}
    for mine, yours in zip(copy.operations, original.operations, strict=True):
        assert not set(mine.inputs) & set(yours.inputs)
        assert not set(mine.outputs) & set(yours.outputs)
        assert mine.attributes is not yours.attributes
    assert copy.outputs[1] is copy.outputs[2]
    assert copy.operations[0].inputs[0] is copy.inputs[0]


def test_a_table_is_copied_once_and_filled_when_it_is_read() -> None:
    calls = []

    def fill() -> np.ndarray:
        calls.append(1)
        return np.arange(256, dtype=np.uint8)

    original = graph()
    table = Table(fill, 1)
    for position in (1, 2):
        original.operations[position].attributes["table"] = table
    copy = original.copy()
    mine = copy.operations[1].attributes["table"]
    assert mine is copy.operations[2].attributes["table"]
    assert mine is not table
    assert mine.channel_axis == 1
    assert not calls
    np.testing.assert_array_equal(mine.values, table.values)
    assert len(calls) == 1
    mine.channel_axis = 0
    assert table.channel_axis == 1


def test_nothing_that_is_shared_can_be_written() -> None:
    copy = graph().copy()
    weights = copy.operations[0].inputs[1]
    assert weights is not None
    arrays = [
        weights.constant,
        copy.operations[1].attributes["table"].values,
        last(copy).attributes["indices"],
    ]
    for array in arrays:
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_containers_in_attributes_are_copied() -> None:
    original = sample("Call")
    copy = original.copy()
    with pytest.raises(TypeError):
        last(copy).attributes["values"]["weight"] = 0
    assert last(copy).attributes["kernel"] is BLEND
    original = sample("Transpose")
    last(original).attributes["perm"] = [1, 0]
    assert last(original.copy()).attributes["perm"] == (1, 0)

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest

from furiosa_ep.compiler import tables
from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.compiler.tables import TableSet
from furiosa_ep.graph import DeviceValue, Graph, Table
from furiosa_ep.partitioner.units import node_units
from furiosa_ep.program import DType
from tests.compiler.partitions import run_on_cpu


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of every session that is made; tables of other tests are forgotten."""
    made: list[Any] = []
    create = ort.InferenceSession

    def record(*args: Any, **kwargs: Any) -> Any:
        made.append(kwargs)
        return create(*args, **kwargs)

    monkeypatch.setattr(ort, "InferenceSession", record)
    monkeypatch.setattr(tables, "_CACHE", tables._Cache(1 << 20))
    return made


def unary(nodes: str, dtype: str = "uint8", dims: str = "", zero: int = 3) -> bytes:
    """`real` to `result` between DequantizeLinear and QuantizeLinear."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g ({dtype}[{dims}] x) => ({dtype}[{dims}] y)
        <float s = {{0.05}}, float t = {{0.03}}, {dtype} z = {{{zero}}},
         float[3,1,1] slopes = {{0.1, 0.2, 0.7}}, float[3] slope = {{0.1, 0.2, 0.7}}> {{
            real = DequantizeLinear(x, s, z)
            {nodes}
            y = QuantizeLinear(result, t, z)
        }}"""
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def table_of(model: bytes, shape: tuple[int, ...], axis: int | None = None) -> Table:
    graph = Graph.from_bytes(model)
    (unit,) = node_units(graph)
    x = DeviceValue("x", DType.U8, shape, signed=graph.dtype("x") == onnx.TensorProto.INT8)
    return TableSet(graph, graph.constant).add(unit, {"x": x}, axis, 0)


@pytest.mark.parametrize("function", ["Sigmoid", "HardSwish", "Erf", "Sqrt", "Relu", "Softplus"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_table_is_what_the_cpu_provider_computes(function: str, dtype: str) -> None:
    model = unary(f"result = {function}(real)", dtype, "256")
    codes = np.arange(256, dtype=np.uint8)
    values = codes if dtype == "uint8" else (codes ^ 0x80).view(np.int8)
    (expected,) = run_on_cpu(model, [values])
    stored = expected if dtype == "uint8" else expected.view(np.uint8) ^ 0x80
    np.testing.assert_array_equal(table_of(model, (256,)).values, stored)


@pytest.mark.parametrize(
    ("slope", "shape", "axis"),
    [
        ("slopes", (2, 3, 4, 5), 1),
        ("slope", (3,), 0),
        ("slopes", (3, 7, 5), 0),
        ("slope", (4, 3), -1),
    ],
)
def test_a_table_for_each_channel(slope: str, shape: tuple[int, ...], axis: int) -> None:
    dims = ",".join(map(str, shape))
    model = unary(f"result = PRelu(real, {slope})", dims=dims)
    table = table_of(model, shape, axis)
    x = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (expected,) = run_on_cpu(model, [x])
    assert table.values.shape == (3, 256)
    moved = np.moveaxis(x, axis, -1)
    found = np.moveaxis(table.values[np.arange(3), moved], -1, axis)
    np.testing.assert_array_equal(found, expected)


def test_all_tables_of_a_partition_are_one_session_on_the_cpu_provider(sessions: list[Any]) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (uint8[2] x) => (uint8[2] y, uint8[2] w)
        <float s = {0.05}, uint8 z = {3}> {
            a = DequantizeLinear(x, s, z)
            b = Sigmoid(a)
            y = QuantizeLinear(b, s, z)
            c = DequantizeLinear(y, s, z)
            d = Tanh(c)
            w = QuantizeLinear(d, s, z)
        }"""
    graph = Graph.from_bytes(onnx.parser.parse_model(text).SerializeToString())
    added = TableSet(graph, graph.constant)
    x, y = (DeviceValue(name, DType.U8, (2,)) for name in "xy")
    made = [added.add(unit, {"x": x, "y": y}, None, 0) for unit in node_units(graph)]
    assert sessions == []
    assert not np.array_equal(made[0].values, made[1].values)
    assert [kwargs["providers"] for kwargs in sessions] == [["CPUExecutionProvider"]]


def test_an_equal_unit_is_evaluated_once(sessions: list[Any]) -> None:
    first = table_of(unary("result = Tanh(real)"), ()).values
    again = table_of(unary("result = Tanh(real)").replace(b"real", b"REAL"), ()).values
    np.testing.assert_array_equal(first, again)
    assert len(sessions) == 1
    assert not np.array_equal(table_of(unary("result = Tanh(real)", zero=9), ()).values, first)
    assert len(sessions) == 2
    older = onnx.load_model_from_string(unary("result = Tanh(real)"))
    older.opset_import[0].version = 13
    np.testing.assert_array_equal(table_of(older.SerializeToString(), ()).values, first)
    assert len(sessions) == 3


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    cache = tables._Cache(600)
    entry = (np.zeros(256, np.uint8),)
    cache.put(b"a", entry)
    cache.put(b"b", entry)
    assert cache.get(b"a") is entry
    cache.put(b"c", entry)
    assert cache.get(b"b") is None
    assert cache.get(b"a") is entry
    assert cache.get(b"c") is entry


def test_a_unit_that_cannot_be_evaluated_is_named(sessions: list[Any]) -> None:
    graph = Graph.from_bytes(unary("result = Tanh(real)").replace(b"Tanh", b"Tang"))
    good = Graph.from_bytes(unary("result = Relu(real)"))
    added = TableSet(graph, graph.constant)
    x = DeviceValue("x", DType.U8, ())
    table = added.add(node_units(good)[0], {"x": x}, None, 0)
    bad = next(unit for unit in node_units(graph) if unit.node.op_type == "Tang")
    broken = added.add(bad, {"x": x, "real": x}, None, 0)
    with pytest.raises(CompileError, match=r"unit 'Tang\(result\)'.*cannot evaluate"):
        _ = broken.values
    assert table.values.shape == (256,)


def test_a_unit_of_two_values_has_no_table() -> None:
    text = unary("result = Add(real, other)").replace(b"slopes", b"unused")
    graph = Graph.from_bytes(text)
    unit = node_units(graph)[0]
    with pytest.raises(InternalError, match="no table"):
        TableSet(graph, lambda name: None).add(unit, {}, None, 0)


def test_many_tables_are_evaluated_a_part_at_a_time(
    sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "UNITS_PER_SESSION", 2)
    pending: list[tables._Request] = []
    for zero in (3, 4, 5, 6, 7, 3):
        graph = Graph.from_bytes(unary("result = Sigmoid(real)", dims="256", zero=zero))
        values = {"x": DeviceValue("x", DType.U8, (256,))}
        owner = TableSet(graph, graph.constant)
        owner.add(node_units(graph)[0], values, None, 0)
        pending += owner._pending
    tables._evaluate(pending)
    assert len(sessions) == 3
    for request, zero in zip(pending, (3, 4, 5, 6, 7, 3), strict=True):
        model = unary("result = Sigmoid(real)", dims="256", zero=zero)
        (expected,) = run_on_cpu(model, [np.arange(256, dtype=np.uint8)])
        assert request.results is not None
        np.testing.assert_array_equal(request.results[0], expected)

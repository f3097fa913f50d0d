"""Several nodes that a plugin takes as one operator, in sessions."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime as ort
import pytest

import furiosa_ep
from furiosa_ep.partitioner import plugins
from furiosa_ep.plugin import (
    UNARY,
    Builder,
    NodeUnit,
    OperatorSupport,
    Pattern,
    PatternNode,
    PluginInfo,
    constant,
    hookimpl,
)

SMOOTH_STEP = Pattern(
    nodes=(
        PatternNode("Less", ["x", "zero"], ["below"]),
        PatternNode("Where", ["below", "zero", "x"], ["clipped"]),
        PatternNode("Mul", ["clipped", "clipped"], ["square"]),
        PatternNode("Mul", ["two", "clipped"], ["twice"]),
        PatternNode("Sub", ["three", "twice"], ["rest"]),
        PatternNode("Mul", ["rest", "square"], ["step"]),
        PatternNode("HardSigmoid", ["step"], ["y"], attributes={"alpha": 0.2, "beta": 0.5}),
    ),
    inputs=("x", "zero", "two", "three"),
    output="y",
)
HARD_SWISH = Pattern(
    nodes=(
        PatternNode("Add", ["x", "three"], ["shifted"]),
        PatternNode("Clip", ["shifted", "zero", "six"], ["clipped"]),
        PatternNode("Mul", ["x", "clipped"], ["product"]),
        PatternNode("Div", ["product", "six"], ["y"]),
    ),
    inputs=("x", "three", "zero", "six"),
    output="y",
)


def lower_table(unit: NodeUnit, builder: Builder) -> None:
    x = builder.value(unit.inputs[0])
    params = unit.outputs[0].params
    assert params is not None
    y = builder.emit("Lookup", [x], x.shape, signed=params.signed, table=builder.table(unit))
    builder.set(unit.outputs[0], y)


def support(op_type: str, pattern: Pattern) -> OperatorSupport:
    constants = [constant(position, "parameter") for position in range(1, len(pattern.inputs))]
    return OperatorSupport(op_type, lower_table, (*UNARY, *constants), "acme", pattern=pattern)


PLUGIN = SimpleNamespace(
    furiosa_plugin=hookimpl(lambda: PluginInfo("acme", "1.0")),
    furiosa_operators=hookimpl(
        lambda: [support("SmoothStep", SMOOTH_STEP), support("HardSwish", HARD_SWISH)]
    ),
)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FURIOSA_PLUGINS", f"{__name__}:PLUGIN")
    _forget()
    yield
    _forget()


def _forget() -> None:
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()


SMOOTH_STEP_NODES = """
    b = Less(f, zero) w = Where(b, zero, f) q = Mul(w, w) t = Mul(w, two) d = Sub(three, t)
    m = Mul(q, d) r = HardSigmoid(m)
"""
HARD_SWISH_NODES = "a = Add(three, f) c = Clip(a, zero, six) m = Mul(f, c) r = Div(m, six)"


def model(nodes: str, dtype: str = "uint8", zero: int = 128, shape: str = "256") -> bytes:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g ({dtype}[{shape}] x) => ({dtype}[M] y)
        <float s = {{0.02}}, float p = {{0.004}}, {dtype} z = {{{zero}}}, float zero = {{0.0}},
         float two = {{2.0}}, float three = {{3.0}}, float six = {{6.0}}> {{
        f = DequantizeLinear(x, s, z) {nodes} y = QuantizeLinear(r, p, z) }}"""
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def run(data: bytes, x: Any, *providers: Any) -> Any:
    session = ort.InferenceSession(data, providers=[*providers, "CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("shape", ["256", "N"])
@pytest.mark.parametrize(
    ("name", "nodes", "count"),
    [("acme:SmoothStep", SMOOTH_STEP_NODES, 7), ("acme:HardSwish", HARD_SWISH_NODES, 4)],
)
def test_several_nodes_run_as_one_operator(
    name: str, nodes: str, count: int, shape: str, dtype: str
) -> None:
    """Though ONNX Runtime gives each reader its own DequantizeLinear, and fills in attributes."""
    furiosa_ep.register()
    data = model(nodes, dtype, 128 if dtype == "uint8" else -3, shape)
    (row,) = furiosa_ep.explain(data, {"claim": "all"}).units
    assert row.claim is not None
    assert (row.op_type, row.claim.plugin, row.partition) == (name, "acme", 0)
    assert len(row.nodes) >= count + 3
    x = np.arange(256).astype(dtype)
    np.testing.assert_array_equal(run(data, x, ("FuriosaProvider", {"claim": "all"})), run(data, x))


def test_a_disabled_pattern_leaves_its_nodes_to_the_operators() -> None:
    furiosa_ep.register()
    options = {"claim": "all", "disabled_ops": "acme:HardSwish,acme:SmoothStep"}
    (row,) = furiosa_ep.explain(model(HARD_SWISH_NODES), options).units
    assert row.claim is not None
    assert row.claim.plugin == "furiosa_ep"
    x = np.arange(256, dtype=np.uint8)
    for nodes in (HARD_SWISH_NODES, SMOOTH_STEP_NODES):
        np.testing.assert_array_equal(
            run(model(nodes), x, ("FuriosaProvider", options)), run(model(nodes), x)
        )
    report = furiosa_ep.explain(model(SMOOTH_STEP_NODES), options)
    (less,) = (row for row in report.rows if row.op_type == "Less")
    assert less.code == "disabled-by-option"
    assert less.reason.startswith("As part of acme:SmoothStep: Provider option disabled_ops")

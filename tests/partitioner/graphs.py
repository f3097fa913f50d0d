"""Small graphs in ONNX's text form, and operator support that takes what it is told to."""

from collections.abc import Iterable

import onnx.parser

from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.registry import Registry
from furiosa_ep.partitioner.support import Constraint, NodeUnit, OperatorSupport

CONSTANTS = """
    float s = {0.1}, uint8 z = {0}, uint8 z9 = {9}, int8 z8 = {-128}, float half = {0.5},
    float three = {3.0}, float six = {6.0}, float zero = {0.0}, float far = {100.0},
    int8[2,2,1,1] w = {1, 2, 3, 4}, float[2] ws = {0.1, 0.2}, int8[2] wz = {0, 0},
    int32[2] bias = {5, 6}, float[2] bs = {0.01, 0.02}
"""


def model(body: str, inputs: str = "uint8[1,2,4,4] x", outputs: str = "uint8[N,C,H,W] y") -> bytes:
    """A serialized model with the nodes of `body`; CONSTANTS are its initializers."""
    text = (
        '<ir_version: 9, opset_import: ["" : 21, "com.microsoft" : 1]>\n'
        f"g ({inputs}) => ({outputs})\n<{CONSTANTS}>\n{{ {body} }}"
    )
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def graph(body: str, inputs: str = "uint8[1,2,4,4] x", outputs: str = "uint8[N,C,H,W] y") -> Graph:
    """`model` as the partitioner reads it."""
    return Graph.from_bytes(model(body, inputs, outputs))


def types(nodes: Iterable[Node]) -> str:
    """The operator types of nodes, Q and DQ for the linear quantization ones."""
    short = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}
    return " ".join(short.get(node.op_type, node.op_type) for node in nodes)


def unit_types(units: Iterable[NodeUnit]) -> list[str]:
    """`types` of each unit."""
    return [types(unit.nodes) for unit in units]


def lower_nothing(unit: NodeUnit, builder: object) -> None:
    """A lowering for tests that lower nothing."""


def registry_of(*names: str, constraints: tuple[Constraint, ...] = ()) -> Registry:
    """Support for operators of the default domain, QuantizeLinear and DequantizeLinear included;
    "Chain" is the pseudo operator."""
    borders = ("QuantizeLinear", "DequantizeLinear")
    entries = [
        OperatorSupport(
            name, lower_nothing, constraints, "furiosa" if name == "Chain" else "", owner="test"
        )
        for name in names
    ]
    entries += [OperatorSupport(name, lower_nothing, owner="test") for name in borders]
    table = {(entry.domain, entry.op_type): (entry,) for entry in entries}
    return Registry(table, named=registry().named)

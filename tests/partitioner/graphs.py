"""Small graphs in ONNX's text form, and operator support that takes what it is told to."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import onnx
import onnx.parser
from onnx import TensorProto, helper

from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.patterns import Pattern, PatternNode
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


def random_model(choices: list[int], outputs: set[int]) -> onnx.ModelProto:
    """A graph of Q, DQ and operators that read any values before them."""
    kinds = ["Q", "DQ", "Tanh", "Relu", "Add", "Mul", "MaxPool", "Concat", "Split"]
    floats, bytes_ = ["x"], list[str]()
    nodes = []
    for step, choice in enumerate(choices):
        kind, seed = kinds[choice % len(kinds)], choice // len(kinds)
        if kind == "DQ" and not bytes_:
            kind = "Q"
        source = bytes_ if kind == "DQ" else floats
        one, other = source[seed % len(source)], source[(seed // 7) % len(source)]
        name = f"v{step}"
        if kind in ("Q", "DQ"):
            op = "QuantizeLinear" if kind == "Q" else "DequantizeLinear"
            nodes.append(helper.make_node(op, [one, "s", "z"], [name]))
        elif kind == "Split":
            nodes.append(helper.make_node(kind, [one], [name, name + "b"], num_outputs=2))
            floats.append(name + "b")
        elif kind == "MaxPool":
            nodes.append(helper.make_node(kind, [one], [name], kernel_shape=[1, 1]))
        elif kind in ("Add", "Mul", "Concat"):
            axis: dict[str, Any] = {"axis": 1} if kind == "Concat" else {}
            nodes.append(helper.make_node(kind, [one, other], [name], **axis))
        else:
            nodes.append(helper.make_node(kind, [one], [name]))
        (bytes_ if kind == "Q" else floats).append(name)
    values = [name for node in nodes for name in node.output]
    read = {name for node in nodes for name in node.input}
    results = [name for i, name in enumerate(values) if name not in read or i in outputs]
    proto = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [
            helper.make_tensor_value_info(
                name, TensorProto.UINT8 if name in bytes_ else TensorProto.FLOAT, None
            )
            for name in results
        ],
        [
            helper.make_tensor("s", TensorProto.FLOAT, [], [0.1]),
            helper.make_tensor("z", TensorProto.UINT8, [], [0]),
        ],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 21)])


def part_of(
    model: onnx.ModelProto, units: Sequence[NodeUnit], random: Random | None = None
) -> Graph:
    """The graph that consists of some units of a `random_model` alone; `random` mixes its nodes."""
    whole = Graph.from_model(model)
    kept = {node.index for unit in units for node in unit.nodes}
    nodes = [model.graph.node[index] for index in sorted(kept)]
    made = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in node.input} - made - {"s", "z"}
    leaving = [
        name
        for name in sorted(made)
        if name in whole.outputs or any(user.index not in kept for user in whole.consumers(name))
    ]
    if random is not None:
        random.shuffle(nodes)
    part = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in sorted(read)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in leaving],
        model.graph.initializer,
    )
    return Graph.from_model(helper.make_model(part, opset_imports=model.opset_import))


def random_pattern(subject: Graph, choices: Sequence[int]) -> Pattern:
    """A pattern that is a part of a graph: a node, and for each further choice one before it."""
    nodes = [subject.nodes[choices[0] % len(subject.nodes)]]
    for choice in choices[1:]:
        before = [
            producer
            for node in nodes
            for name in node.inputs
            if (producer := subject.producer(name)) is not None and producer not in nodes
        ]
        if before:
            nodes.append(before[choice % len(before)])
    output = nodes[0].outputs[0]
    nodes = [node for node in subject.nodes if node in nodes]
    made = {name for node in nodes for name in node.outputs}
    inputs = dict.fromkeys(name for node in nodes for name in node.inputs if name not in made)
    return Pattern(
        tuple(PatternNode(node.op_type, node.inputs, node.outputs) for node in nodes),
        tuple(inputs),
        output,
    )

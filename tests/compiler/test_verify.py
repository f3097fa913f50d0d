"""The rules of the device graph: what is well formed passes, and each kind of damage is found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from furiosa_ep.compiler.codegen.registry import EMITTERS
from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.compiler.opcodes import OPCODE, has_table
from furiosa_ep.compiler.verify import verify
from furiosa_ep.device_emulator import Executable, checksum
from furiosa_ep.graph import DeviceGraph, DeviceValue, QuantParams, Table
from furiosa_ep.graph.kinds import DECLARATIONS, KINDS, TYPES
from furiosa_ep.program import OPCODES, DType
from tests.compiler.device_graphs import PARAMS, Maker, random_graph
from tests.compiler.kind_samples import sample
from tests.compiler.test_codegen import compiled

DOCUMENT = Path(__file__).parents[2] / "docs" / "compiler.md"


def test_every_kind_is_known_everywhere() -> None:
    assert set(EMITTERS) == set(KINDS)
    assert set(OPCODE.values()) <= set(OPCODES)
    assert {kind for kind in OPCODE if has_table(kind)} == {
        name for name, kind in KINDS.items() if "table" in kind.attributes
    }


def test_kinds_are_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    kinds = "\n".join(
        f"{name}: {operands}" + (f"\n    {attributes}" if attributes else "")
        for name, (operands, attributes) in DECLARATIONS.items()
    )
    assert f"```text\n{kinds}\n```" in text
    types = "\n".join(f"| `{name}` | {described} |" for name, (described, _) in TYPES.items())
    assert f"\n{types}\n" in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_each_kind_is_well_formed_and_compiles(kind: str) -> None:
    graph = sample(kind)
    verify(graph, "test", tables=True)
    assert graph.operations[-1].kind == kind
    Executable(compiled(graph).to_bytes(checksum))


def test_random_graphs_are_well_formed() -> None:
    for seed in range(200):
        verify(random_graph(seed), "test", tables=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_attribute_is_named(kind: str) -> None:
    for name in KINDS[kind].required:
        graph = sample(kind)
        del graph.operations[-1].attributes[name]
        with pytest.raises(InternalError, match=f"{kind} of .*: attribute '{name}' is missing"):
            verify(graph, "test")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["far", (-1, "x"), {}, 1j, np.ones(2, complex)])
def test_an_attribute_of_another_type_is_named(kind: str, value: object) -> None:
    for name, one in KINDS[kind].attributes.items():
        if one.expected == TYPES["any"][0]:
            continue
        graph = sample(kind)
        graph.operations[-1].attributes[name] = value
        with pytest.raises(InternalError, match=f"{kind} of .*: attribute '{name}' is .*: expect"):
            verify(graph, "test")


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_attribute_is_named(kind: str) -> None:
    graph = sample(kind)
    graph.operations[-1].attributes["tabel"] = 1
    with pytest.raises(InternalError, match="attribute 'tabel' is unknown"):
        verify(graph, "test")


@pytest.mark.parametrize("kind", KINDS)
def test_operands_and_results_of_another_type_are_named(kind: str) -> None:
    for position in range(-1, len(sample(kind).operations[-1].inputs)):
        graph = sample(kind)
        operation = graph.operations[-1]
        value = operation.output if position < 0 else operation.inputs[position]
        if value is None:
            continue
        value.dtype = DType.BOOL
        value.constant = None if value.constant is None else value.constant.astype(bool)
        with pytest.raises(InternalError, match=r"is BOOL|is bool|BOOL to|to BOOL"):
            verify(graph, "test")


@pytest.mark.parametrize("kind", KINDS)
def test_operands_that_are_absent_or_too_many_are_named(kind: str) -> None:
    for position, one in enumerate(KINDS[kind].operands):
        graph = sample(kind)
        operation = graph.operations[-1]
        if not one.optional:
            operation.inputs[position] = None
            with pytest.raises(InternalError, match=f"operand '{one.name}' is missing"):
                verify(graph, "test")
    graph = sample(kind)
    operation = graph.operations[-1]
    operation.inputs += [graph.inputs[0]] * 4
    if kind != "Concat":
        with pytest.raises(InternalError, match=f"{kind} of .*expected"):
            verify(graph, "test")


def convolution() -> DeviceGraph:
    """A Pad, a Conv, a Lookup, an Add of it with the input, and a Transpose, in this order."""
    m = Maker()
    x = m.input(1, 4, 5, 5)
    y = m.lookup(m.conv(m.pad(x, (0, 0, 1, 1, 0, 0, 1, 1), 128), 4, 3))
    return m.output(m.transpose(m.add(y, x), 0, 1, 3, 2))


Damage = Callable[[DeviceGraph], object]


def attribute(position: int, name: str, value: object) -> Damage:
    return lambda graph: graph.operations[position].attributes.update({name: value})


def table(values: npt.NDArray[Any], channel_axis: int | None = None) -> Table:
    return Table(lambda: values, channel_axis)


def impossible() -> npt.NDArray[np.uint8]:
    raise KeyError("codes")


BYTES = np.arange(256, dtype=np.uint8)
CONV, LOOKUP, ADD, LAST = 1, 2, 3, 4


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda g: g.operations.reverse(), "before it is computed"),
        (lambda g: g.operations.append(g.operations[0]), "again"),
        (lambda g: g.operations[LAST].outputs.append(Maker().input(1)), "2 outputs: expected one"),
        (lambda g: g.operations[LAST].outputs.clear(), "0 outputs: expected one"),
        (lambda g: g.operations.append("Conv"), "'Conv' is no Operation"),
        (lambda g: setattr(g.operations[0], "kind", "Dance"), "Dance of .*: unknown kind"),
        (lambda g: setattr(g.operations[LAST].output, "shape", (1, 4, 5, 6)), "the operands give"),
        (lambda g: setattr(g.operations[LAST].output, "shape", (1.0, 4, 5, 5)), "integers"),
        (lambda g: setattr(g.operations[LAST].output, "dtype", DType.F32), "expected the same"),
        (lambda g: setattr(g.operations[LAST].output, "dtype", 2), "output of type 2"),
        (lambda g: setattr(g.operations[LAST], "name", 7), "a str for a name"),
        (lambda g: g.outputs.append(Maker().input(1)), "output 'input0' is never computed"),
        (lambda g: g.operations.pop(), "never computed"),
        (lambda g: g.operations[CONV].inputs.pop(), "operand 'multiplier' is missing"),
        (lambda g: setattr(g.operations[CONV].inputs[1], "shape", (4, 4, 9)), "constant '.*' is"),
        (lambda g: g.operations[CONV].inputs.append(g.inputs[0]), "a residual needs"),
        (attribute(CONV, "pads", (1, 1)), "pads .* for 2 spatial axes"),
        (attribute(CONV, "group", 3), "in 3 groups"),
        (attribute(CONV, "residual_table", table(BYTES)), "without a residual"),
        (attribute(ADD, "table", table(BYTES, 7)), "axis 7"),
        (attribute(ADD, "y_params", QuantParams(np.float32(1), 300, False)), "'y_params' is"),
        (attribute(LOOKUP, "table", table(BYTES[:9])), r"uint8 \[9\]: expected uint8 \[256\]"),
        (attribute(LOOKUP, "table", table(BYTES.astype(float))), "float64"),
        (attribute(LOOKUP, "table", table(np.ones((3, 256), np.uint8), 1)), r"\[4, 256\]"),
        (attribute(LOOKUP, "table", Table(impossible)), "KeyError: 'codes'"),
        (attribute(LAST, "perm", (0, 1, 2, 2)), "perm"),
    ],
)  # fmt: skip
def test_damage_is_named(damage: Damage, reason: str) -> None:
    graph = convolution()
    verify(graph, "test", tables=True)
    damage(graph)
    with pytest.raises(InternalError, match=rf"after test: .*{reason}"):
        verify(graph, "test", tables=True)


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("Gather", {"indices": np.array([[3, 0]])}, "indices from 0 to 3 of 3 elements"),
        ("Gather", {"indices": np.array([[-1, 0]])}, "indices from -1"),
        ("Gather", {"axis": 2}, "axis 2 of rank 2"),
        ("Concat", {"axis": -3}, "axis -3 of rank 2"),
        ("Softmax", {"axis": 2}, "axis 2 of rank 2"),
        ("Reduce", {"axes": (2, -2)}, "one is there twice"),
        ("ResizeNearest", {"rows": np.array([0, 1, 2, 4])}, "indices from 0 to 4 of 4"),
        ("ResizeLinear", {"row_weights": np.ones((4, 1), np.float32)}, "row_weights"),
        ("ConvTranspose", {"group": 3}, "in 3 groups"),
        ("ConvTranspose", {"y_params": None}, "the result is quantized"),
        ("Expression", {"params": (PARAMS,)}, "has 1 entries: expected 2"),
        ("Call", {"values": {"weight": 1.0}}, "attributes"),
        ("Call", {"kernel": "TEST_BLEND"}, "AttributeError"),
        ("MatMul", {"table": table(np.ones((5, 256), np.uint8), 1)}, "no table for each index"),
    ],
)
def test_attributes_that_do_not_fit_their_operation(
    kind: str, changes: dict[str, object], reason: str
) -> None:
    graph = sample(kind)
    graph.operations[-1].attributes.update(changes)
    with pytest.raises(InternalError, match=reason):
        verify(graph, "test")


def test_a_float_result_takes_no_table() -> None:
    graph = sample("MatMul")
    operation = graph.operations[-1]
    operation.attributes["table"] = table(BYTES)
    verify(graph, "test")
    operation.output.dtype = DType.I8
    verify(graph, "test")
    operation.output.dtype = DType.F32
    with pytest.raises(InternalError, match="a float result takes no table"):
        verify(graph, "test")


def test_an_image_operation_needs_an_image() -> None:
    for kind in ("MaxPool", "GlobalAveragePool", "ConvTranspose", "ResizeNearest"):
        graph = sample(kind)
        value: DeviceValue = graph.inputs[0]
        value.shape = (1, 4)
        with pytest.raises(InternalError, match=r"expected rank (3 or )?4"):
            verify(graph, "test")

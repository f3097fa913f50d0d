"""The graph of a serialized model is what onnx reads of it."""

import ctypes
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.graph import ElementType, Graph
from furiosa_ep.graph.element_type import element_name, numpy_dtype
from furiosa_ep.graph.protobuf import (
    ProtobufError,
    bytes_field,
    fields,
    integer_field,
    integers,
    number,
    text,
    view,
)
from furiosa_ep.graph.tensor import Tensor, tensor_message

NUMBERS = [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)]


def graph_of(*nodes: onnx.NodeProto, **more: object) -> Graph:
    graph = helper.make_graph(list(nodes), "test", [], [])
    return Graph.from_model(helper.make_model(graph, **more))


def test_element_types_are_those_of_onnx() -> None:
    known = dict(TensorProto.DataType.items())  # onnx itself adds some from time to time
    ours = {one.name: one.value for one in ElementType}
    assert {name: known[name] for name in ours if name in known} == {
        name: value for name, value in ours.items() if name in known
    }
    assert {"FLOAT", "UINT8", "INT8", "INT32", "INT64", "BOOL"} <= ours.keys() & known.keys()
    for one in (ElementType.FLOAT, ElementType.INT8, ElementType.BOOL, ElementType.BFLOAT16):
        assert numpy_dtype(one) == helper.tensor_dtype_to_np_dtype(one)
    assert element_name(ElementType.UINT8) == "uint8"
    assert element_name(999) == "element type 999"


@pytest.mark.parametrize("value", NUMBERS)
def test_integers_are_written_and_read(value: int) -> None:
    message = integer_field(2, value)
    assert onnx.TensorProto.FromString(integer_field(1, value)).dims == [value]
    assert [(at, number(one)) for at, one in fields(message)] == [(2, value)]


def test_fields_of_every_wire_type() -> None:
    attribute = helper.make_attribute("a" * 200, 0.5)
    found = dict(fields(attribute.SerializeToString()))
    assert text(found[1]) == "a" * 200
    assert bytes(view(found[2])) == np.float32(0.5).tobytes()
    assert list(fields(b"\x09" + b"12345678")) == [(1, memoryview(b"12345678"))]
    assert bytes_field(200, "x" * 300) == b"\xc2\x0c\xac\x02" + b"x" * 300


@pytest.mark.parametrize("value", [NUMBERS, [5]])
def test_integers_may_be_packed(value: list[int]) -> None:
    packed = b"".join(integer_field(1, one)[1:] for one in value)
    assert list(integers(memoryview(packed))) == value


BROKEN = [b"\x0a", b"\x0a\x05a", b"\x08", b"\x08\x80", b"\x80", b"\x0b", b"\x0d123"]


@pytest.mark.parametrize("broken", [*BROKEN, b"\x08" + b"\xff" * 11])
def test_what_is_no_message_is_an_error(broken: bytes) -> None:
    with pytest.raises(ProtobufError):
        list(fields(broken))


def test_a_field_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(ProtobufError, match="number where bytes"):
        Tensor.read(integer_field(8, 3))
    with pytest.raises(ProtobufError, match="bytes where a number"):
        Tensor.read(bytes_field(2, "x"))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "i8", "?"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
@pytest.mark.parametrize("how", ["raw", "typed", "memory", "written"])
def test_tensors(dtype: str, shape: tuple[int, ...], how: str) -> None:
    array = (np.random.default_rng(1).normal(size=shape) * 9).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    proto = numpy_helper.from_array(array, "t")
    kept = ctypes.create_string_buffer(array.tobytes())
    if how == "typed":
        proto = helper.make_tensor("t", kind, shape, array.reshape(-1))
    elif how == "memory":
        proto.ClearField("raw_data")
        proto.data_location = TensorProto.EXTERNAL
        place = {"location": "@mem", "offset": ctypes.addressof(kept), "length": array.nbytes}
        for key, value in place.items():
            proto.external_data.add(key=key, value=str(value))
    message = proto.SerializeToString()
    if how == "written":
        message = tensor_message(array.tobytes(), "t", shape, ElementType(kind))
    tensor = Tensor.read(message)
    assert (tensor.name, tensor.dtype, tensor.dims) == ("t", kind, shape)
    np.testing.assert_array_equal(tensor.array(), array, strict=True)


def test_the_memory_of_others_cannot_be_written() -> None:
    kept = ctypes.create_string_buffer(b"abcd")
    proto = onnx.TensorProto(name="t", data_type=TensorProto.UINT8, dims=[4])
    for key, value in {"location": "@mem", "offset": ctypes.addressof(kept), "length": 4}.items():
        proto.external_data.add(key=key, value=str(value))
    array = Tensor.read(proto.SerializeToString()).array()
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_strings_and_elements_that_numpy_lacks() -> None:
    words = np.array(["a", "zwölf"], object)
    tensor = Tensor.read(numpy_helper.from_array(words).SerializeToString())
    assert tensor.array().tolist() == ["a", "zwölf"]
    packed = helper.make_tensor("t", TensorProto.INT4, [3], [1, -2, 7])
    memory = ctypes.create_string_buffer(packed.int32_data[0].to_bytes(1, "little") + b"\x07", 2)
    external = onnx.TensorProto(name="t", data_type=TensorProto.INT4, dims=[3])
    for key, value in {"location": "@mem", "offset": ctypes.addressof(memory), "length": 2}.items():
        external.external_data.add(key=key, value=str(value))
    for proto in (packed, external):
        assert Tensor.read(proto.SerializeToString()).array().astype(int).tolist() == [1, -2, 7]


def test_a_tensor_in_a_file_is_an_error() -> None:
    proto = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    proto.external_data.add(key="location", value="weights.bin")
    with pytest.raises(ValueError, match=r"'w' is in the file 'weights\.bin'"):
        Tensor.read(proto.SerializeToString()).array()


def test_attributes_of_every_type() -> None:
    tensor = numpy_helper.from_array(np.array([3], np.int64))
    values: dict[str, Any] = {
        "one": -7,
        "many": [2**40, -1],
        "real": 0.125,
        "reals": [0.5, -1.25],
        "word": "näh",
        "words": ["minus", ""],
        "tensor": tensor,
    }
    node = helper.make_node("Any", ["x", "", "y"], ["z"], domain="test", **values)
    node.attribute.append(helper.make_attribute("none", [], attr_type=onnx.AttributeProto.INTS))
    (found,) = graph_of(node, opset_imports=[helper.make_opsetid("test", 3)]).nodes
    assert found.attributes == {**values, "tensor": np.array([3]), "none": []}
    assert (found.domain, found.opset, found.inputs, found.outputs) == (
        "test", 3, ("x", "", "y"), ("z",),
    )  # fmt: skip
    assert found.proto == node


def test_constant_nodes_are_constants() -> None:
    values: dict[str, Any] = {
        "value": numpy_helper.from_array(np.ones((2, 2), np.int8)),
        "value_float": 0.5,
        "value_floats": [0.5, 1.5],
        "value_int": 3,
        "value_ints": [3, 4],
    }
    graph = graph_of(
        *(helper.make_node("Constant", [], [key], **{key: x}) for key, x in values.items())
    )
    assert graph.nodes == ()
    for key, value in values.items():
        array = graph.constant(key)
        assert array is not None
        expected = np.ones((2, 2)) if key == "value" else value
        assert np.array_equal(array, expected)
        assert array.dtype == {"value": "i1", "value_f": "f4", "value_i": "i8"}[key[:7]]
        assert not array.flags.writeable


def test_what_subgraphs_read_counts_as_read_by_their_owner() -> None:
    def body(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph(
            list(nodes), name, [], [helper.make_empty_tensor_value_info(f"{name}_out")],
            [numpy_helper.from_array(np.ones(1), "own")],
        )  # fmt: skip

    inner = body("inner", helper.make_node("Add", ["deep", "own"], ["inner_out"]))
    then = body(
        "then", helper.make_node("If", ["c2"], ["then_out"], then_branch=inner, else_branch=inner)
    )
    otherwise = body(
        "else", helper.make_node("Neg", ["a"], ["t"]), helper.make_node("Neg", ["t"], ["else_out"])
    )
    passed_on = helper.make_graph([], "p", [], [helper.make_empty_tensor_value_info("direct")])
    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=then, else_branch=otherwise, other=passed_on
    )
    (found,) = graph_of(node).nodes
    assert found.captured == frozenset({"deep", "c2", "a", "direct"})
    (plain,) = graph_of(helper.make_node("Neg", ["x"], ["y"])).nodes
    assert plain.captured is None


def test_the_provider_does_not_import_onnx() -> None:
    script = """
import sys
import numpy as np
import furiosa_ep
furiosa_ep.register()
from furiosa_ep.compiler import driver
from furiosa_ep.partitioner.plugins import registry
registry()
assert "onnx" not in sys.modules, "imported"
"""
    subprocess.run([sys.executable, "-c", script], check=True)

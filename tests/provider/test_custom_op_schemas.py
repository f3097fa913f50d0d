"""What ONNX Runtime makes of a schema: types, numbers of values, attributes and shapes."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, RuntimeException

from furiosa_ep.partitioner.schema import Schema
from tests.provider.conftest import LoadSchemas
from tests.provider.fake_driver import Behaviour
from tests.provider.plugin_operators import (
    CLIP_SUM,
    X,
    by_name,
    cpu_session,
    divide_by_zero,
    model,
    node,
    sum_model,
    unary,
)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32])
def test_each_type_of_a_group(load: LoadSchemas, dtype: type[np.generic]) -> None:
    load(CLIP_SUM)
    x = (np.arange(6).reshape(2, 3) * 3).astype(dtype)
    session = by_name(sum_model(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), low=0, high=9))
    (result,) = session.run(None, {"x": x})
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.clip(2 * x, 0, 9))


def test_onnxruntime_refuses_a_type_that_the_schema_lacks(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    with pytest.raises(InvalidGraph, match=r"tensor\(double\).*input parameter \(x\)"):
        by_name(sum_model(TensorProto.DOUBLE))


def test_onnxruntime_refuses_mixed_types_of_a_group(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    types = {"x": (TensorProto.UINT8, (2,)), "y": (TensorProto.INT8, (2,))}
    with pytest.raises(Fail, match="no kernel def matches node inputs for Op: ClipSum"):
        by_name(model([node("ClipSum", "x y", low=0)], types))


def test_the_version_of_the_domain(load: LoadSchemas) -> None:
    load(Schema("Op", "hello", "x:float -> z:float", since=2, compute=lambda inputs, _: inputs[0]))
    made = [
        model([node("Op", "x")], {"x": (TensorProto.FLOAT, (2, 3))}, version=version)
        for version in (1, 2, 3)
    ]
    with pytest.raises(Fail, match="is not a registered function/op"):
        by_name(made[0])
    for one in made[1:]:
        np.testing.assert_array_equal(by_name(one).run(None, {"x": X})[0], X)


def test_optional_and_variadic_values(load: LoadSchemas) -> None:
    def compute(inputs: Sequence[Any], _: Mapping[str, Any]) -> Sequence[Any]:
        x, scale, *rest = inputs
        total = x * (1 if scale is None else scale)
        for one in rest:
            total = total + one
        return [total, np.array([len(rest)], np.int64), -total]

    operands = "x:float scale:float? rest:float* -> sum:float count:int64? negative:float?"
    load(Schema("Op", "hello", operands, compute=compute))
    scale = np.array([3], np.float32)
    for inputs, outputs, expected in (
        ("x -", "z", [X]),
        ("x scale", "z", [3 * X]),
        ("x - x x", "z n", [3 * X, [2]]),
        ("x scale x", "z - m", [4 * X, -4 * X]),
        ("x - x x x", "z n m", [4 * X, [3], -4 * X]),
    ):
        names = [name for name in outputs.split() if name != "-"]
        values = {"x": (TensorProto.FLOAT, (2, 3)), "scale": (TensorProto.FLOAT, (1,))}
        used = {name: one for name, one in values.items() if name in inputs.split()}
        session = by_name(model([node("Op", inputs, outputs)], used, names))
        feeds = {name: one for name, one in {"x": X, "scale": scale}.items() if name in used}
        for result, one in zip(session.run(None, feeds), expected, strict=True):
            np.testing.assert_array_equal(result, one)


def test_variadic_outputs(load: LoadSchemas) -> None:
    def compute(inputs: Sequence[Any], _: Mapping[str, Any]) -> list[Any]:
        (x,) = inputs
        return [x, x + 1, x + 2]

    load(Schema("Op", "hello", "x:any -> y:any+", compute=compute))
    for count in (1, 2, 3):
        names = [f"y{index}" for index in range(count)]
        made = model([node("Op", "x", " ".join(names))], {"x": (TensorProto.FLOAT, (2, 3))}, names)
        for index, result in enumerate(by_name(made).run(None, {"x": X})):
            np.testing.assert_array_equal(result, X + index)


@pytest.mark.parametrize("operands", ["x:any -> y:float", "x:any y:float+ -> z:float"])
def test_numbers_of_values_are_checked(load: LoadSchemas, operands: str) -> None:
    load(Schema("Op", "hello", operands))
    for inputs, outputs in (("", "z"), ("x", "z w"), ("x" if "+" in operands else "x x", "z")):
        with pytest.raises(InvalidGraph, match="not in range"):
            by_name(model([node("Op", inputs, outputs)], {"x": (TensorProto.FLOAT, (2, 3))}))


def test_a_required_value_must_be_there(load: LoadSchemas) -> None:
    load(Schema("Op", "hello", "x:float y:float -> z:float"))
    with pytest.raises(InvalidGraph, match="input 0 is marked single but has an empty string"):
        by_name(model([node("Op", "- x")], {"x": (TensorProto.FLOAT, (2, 3))}))


ATTRIBUTES: dict[str, Any] = {
    "low": -7,
    "epsilon": 0.5,
    "mode": "linear",
    "axes": [1, -2, 3],
    "scales": [0.5, 2.0],
    "table": np.array([[1, 2], [3, 4]], np.uint8),
    "no_axes": [],
}
DECLARED = "low:int epsilon:float mode:string axes:ints scales:floats table:tensor no_axes:ints?"


def assert_attributes(found: Mapping[str, Any]) -> None:
    found = dict(found)
    np.testing.assert_array_equal(found.pop("table"), ATTRIBUTES["table"])
    assert found == {name: value for name, value in ATTRIBUTES.items() if name != "table"}


def test_attributes_of_all_types_arrive(load: LoadSchemas) -> None:
    seen: list[Mapping[str, Any]] = []

    def compute(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
        seen.append(attributes)
        return inputs[0]

    def shape(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Sequence[Any]:
        seen.append(attributes)
        return inputs

    load(Schema("Op", "hello", "x:float -> z:float", DECLARED, shape=shape, compute=compute))
    attributes = {
        **ATTRIBUTES,
        "table": numpy_helper.from_array(ATTRIBUTES["table"]),
        "no_axes": helper.make_attribute("no_axes", [], attr_type=onnx.AttributeProto.INTS),
    }
    empty = attributes.pop("no_axes")
    one = node("Op", "x", **attributes)
    one.attribute.append(empty)
    session = by_name(model([one], {"x": (TensorProto.FLOAT, (2, 3))}))
    session.run(None, {"x": X})
    assert len(seen) >= 2
    for found in seen:
        assert_attributes(found)


def test_an_absent_attribute_is_not_there(load: LoadSchemas) -> None:
    load(
        Schema(
            "Op",
            "hello",
            "x:float -> z:float",
            "low:int?",
            compute=lambda inputs, attributes: inputs[0] + attributes.get("low", 100),
        )
    )
    np.testing.assert_array_equal(by_name(unary()).run(None, {"x": X})[0], X + 100)
    np.testing.assert_array_equal(by_name(unary(low=5)).run(None, {"x": X})[0], X + 5)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "attribute 'low' is missing"),
        ({"low": 1.5}, "attribute 'low' must be of type int, it is float"),
        ({"low": "a"}, "attribute 'low' must be of type int, it is string"),
        ({"low": [1]}, "attribute 'low' must be of type int, it is ints"),
        ({"low": [1.5]}, "attribute 'low' must be of type int, it is floats"),
        ({"low": ["a"]}, "attribute 'low' must be of type int, it is of another"),
        ({"low": numpy_helper.from_array(X)}, "attribute 'low' must be of type int, it is tensor"),
    ],
)
def test_a_wrong_attribute_is_an_error_of_the_session(
    load: LoadSchemas, attributes: dict[str, Any], message: str
) -> None:
    load(Schema("Op", "hello", "x:float -> z:float", "low:int", compute=lambda *_: X))
    where = r"operator hello:Op of plugin 'hello', node 'Op\(z\)': "
    with pytest.raises(RuntimeException, match=where + message):
        by_name(unary(**attributes))


@pytest.mark.parametrize("shape", [(2, 3), ("N", 3), ("N", "M"), (2, 0)])
def test_the_shape_of_the_first_input_is_the_default(load: LoadSchemas, shape: Any) -> None:
    load(CLIP_SUM)
    session = by_name(sum_model(shape=shape))
    assert session.get_outputs()[0].shape == list(shape)
    assert session.get_outputs()[0].type == "tensor(float)"


def test_dims_without_a_name_stay_apart(
    load: LoadSchemas, capfd: pytest.CaptureFixture[str]
) -> None:
    load(CLIP_SUM)
    made = model(
        [node("ClipSum", "x x", "a", low=0), node("ClipSum", "y y", "b", low=0)],
        dict.fromkeys("xy", (TensorProto.FLOAT, (None, 3))),
        "ab",
    )
    session = by_name(made)
    a, b = (output.shape for output in session.get_outputs())
    assert a[0] != b[0]
    assert a[1:] == b[1:] == [3]
    for rows in (1, 4):
        feeds = {"x": X, "y": np.ones((rows, 3), np.float32)}
        assert [one.shape for one in session.run(None, feeds)] == [(2, 3), (rows, 3)]
    assert "Expected shape from model" not in capfd.readouterr().err


@pytest.mark.parametrize("shape", [None, ()])
def test_a_rank_that_is_unknown_stays_unknown(
    load: LoadSchemas, shape: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    load(CLIP_SUM)
    session = by_name(sum_model(shape=shape))
    assert session.get_outputs()[0].type == "tensor(float)"
    x = X if shape is None else np.array(4, np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.clip(2 * x, 2, 7))
    assert "Expected shape from model" not in capfd.readouterr().err


def test_shapes_by_a_function_of_the_plugin(load: LoadSchemas, driver: Behaviour) -> None:
    def shape(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Sequence[Any]:
        rows, columns = inputs[0]
        return [(columns, rows, attributes["times"]), (None, 7), None]

    load(
        Schema(
            "Op",
            "hello",
            "x:any -> z:any w:int64 v:float",
            "times:int",
            shape=shape,
            compute=divide_by_zero,
        )
    )
    made = model(
        [
            node("Op", "x", "z w v", times=4),
            *(helper.make_node("Neg", [one], ["-" + one]) for one in "zwv"),
        ],
        {"x": (TensorProto.FLOAT16, ("N", 3))},
        ["-z", "-w", "-v"],
    )
    outputs = {one.name: one for one in cpu_session(made).get_outputs()}
    assert outputs["-z"].shape == [3, "N", 4]
    assert outputs["-z"].type == "tensor(float16)"
    assert outputs["-w"].shape[1] == 7
    assert isinstance(outputs["-w"].shape[0], str)
    assert outputs["-w"].type == "tensor(int64)"
    assert outputs["-v"].type == "tensor(float)"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (lambda inputs, _: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda inputs, _: [(2.5, 3)], "TypeError: 'float' object cannot be interpreted"),
        (lambda inputs, _: [(2, -3)], "ValueError: a dim of -3"),
        (lambda inputs, _: 5, "TypeError: 'int' object is not iterable"),
    ],
)
def test_a_shape_function_that_fails_is_reported_and_harmless(
    load: LoadSchemas, shape: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    compute = lambda inputs, _: inputs[0]  # noqa: E731
    load(Schema("Op", "hello", "x:float -> z:float", shape=shape, compute=compute))
    with caplog.at_level(logging.WARNING):
        session = by_name(unary())
    said = "operator hello:Op of plugin 'hello': shape failed, so nothing is known of the outputs: "
    assert said + message in caplog.messages[0]
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], X)


def test_more_shapes_than_outputs_are_ignored(load: LoadSchemas) -> None:
    load(
        Schema(
            "Op",
            "hello",
            "x:float -> z:float w:float?",
            shape=lambda inputs, _: [(2, 3)] * 100,
            compute=lambda inputs, _: [inputs[0], None],
        )
    )
    assert by_name(unary()).get_outputs()[0].shape == [2, 3]

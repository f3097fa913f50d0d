"""What a schema may say, and how it is read."""

from collections.abc import Iterable
from typing import Any

import pytest

from furiosa_ep.graph import ElementType
from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.schema import Schema, SchemaAttribute, SchemaValue


def test_operands_and_attributes_are_read() -> None:
    schema = Schema(
        "ClipSum",
        "hello",
        "x:uint8|int8 gamma:float? rest:int64+ -> y:uint8|int8",
        "low:int high:int? epsilon:float mode:string table:tensor axes:ints scales:floats",
    )
    quantized = (ElementType.UINT8, ElementType.INT8)
    assert schema.name == "hello:ClipSum"
    assert schema.inputs == (
        SchemaValue("x", quantized, optional=False, variadic=False, least=1),
        SchemaValue("gamma", (ElementType.FLOAT,), optional=True, variadic=False, least=1),
        SchemaValue("rest", (ElementType.INT64,), optional=False, variadic=True, least=1),
    )
    assert schema.outputs == (SchemaValue("y", quantized, False, False, 1),)
    assert schema.attribute_list[:2] == (
        SchemaAttribute("low", 2, optional=False),
        SchemaAttribute("high", 2, optional=True),
    )
    assert [one.type for one in schema.attribute_list[2:]] == [1, 3, 4, 7, 6]


def test_values_with_equal_types_are_chosen_together() -> None:
    schema = Schema("Op", "hello", "x:uint8|int8 i:int32|int64 y:uint8|int8 -> z:uint8|int8 a:bool")
    chosen = [
        [choice[value.types] for value in (*schema.inputs, *schema.outputs)]
        for choice in schema.type_choices()
    ]
    u8, i8, i32, i64, boolean = 2, 3, 6, 7, 9
    assert chosen == [
        [u8, i32, u8, u8, boolean],
        [u8, i64, u8, u8, boolean],
        [i8, i32, i8, i8, boolean],
        [i8, i64, i8, i8, boolean],
    ]
    assert [schema.type_source(output) for output in schema.outputs] == [0, None]


def test_any_type_is_one_choice_and_follows_an_input() -> None:
    schema = Schema("Op", "hello", "i:int64 x:any -> y:any")
    (choice,) = schema.type_choices()
    assert choice[()] == ElementType.UNDEFINED
    assert schema.type_source(schema.outputs[0]) == 1


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.ms.x"])
def test_the_domains_of_others_are_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="is not the plugin's: choose one of its own"):
        Schema("Op", domain, "x:any -> y:any")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op_type": "Clip Sum"}, "needs a name"),
        ({"since": 0}, "versions begin at 1"),
        ({"operands": "x:float"}, "expected 'name:type -> name:type'"),
        ({"operands": "x:float ->"}, "expected 'name:type -> name:type'"),
        ({"operands": "x -> y:float"}, "cannot read the operand 'x'"),
        ({"operands": "x:f32 -> y:float"}, "element type 'f32': expected any, float"),
        ({"operands": "x:string -> y:float"}, "element type 'string'"),
        ({"operands": "x:float* y:float -> y:float"}, "only the last one"),
        ({"operands": "x:float -> y:any"}, "the type of output 'y' is open"),
        ({"operands": "x:any? -> y:any"}, "the type of output 'y' is open"),
        ({"operands": "x:any* -> y:any"}, "the type of output 'y' is open"),
        (
            {
                "operands": "x:uint8|int8|uint16|int16|int32 y:uint8|int8|uint16|int16|int64 "
                "z:uint8|int8|uint16 -> y:float"
            },
            "more than 64 combinations of types",
        ),
        ({"attributes": "low"}, "cannot read the attribute 'low'"),
        ({"attributes": "low:strings"}, "with a type of float, int, string, tensor, floats, ints"),
        ({"attributes": "low:int low:float"}, "a name twice"),
    ],
)
def test_a_broken_schema_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    whole = {"op_type": "Op", "domain": "hello", "operands": "x:float -> y:float", **changes}
    with pytest.raises(ValueError, match=message) as raised:
        Schema(**whole)
    assert str(raised.value).startswith(f"schema hello:{whole['op_type']}: ")


def plugin(name: str, *schemas: Schema) -> object:
    class Plugin:
        @hookimpl
        def furiosa_plugin(self) -> PluginInfo:
            return PluginInfo(name, "1.0")

        @hookimpl
        def furiosa_schemas(self) -> Iterable[Schema]:
            return schemas

    return Plugin()


def test_two_plugins_with_one_operator_are_reported_by_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    schema = Schema("Op", "hello", "x:float -> y:float")
    plugins = {name: plugin(name, schema) for name in ("first", "second")}
    found = build_registry(plugins).named("furiosa_schemas")
    assert {name: one.owner for name, one in found.items()} == {"hello:Op": "first"}
    (message,) = caplog.messages
    assert "'second'" in message
    assert "'hello:Op' is taken by plugin 'first'" in message

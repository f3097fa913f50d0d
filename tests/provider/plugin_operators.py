"""Operators of a plugin of its own, models with them, and the ways to create sessions."""

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

import furiosa_ep
from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.schema import Schema

CPU = "CPUExecutionProvider"
PROVIDERS = ["FuriosaProvider", CPU]
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def clip_sum(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    x, y = inputs
    return np.clip(x + y, attributes["low"], attributes.get("high")).astype(x.dtype)


def divide_by_zero(_inputs: Any, _attributes: Any) -> Any:
    return 1 / 0


TYPES = "uint8|int8|float"
CLIP_SUM = Schema(
    "ClipSum",
    "hello",
    f"x:{TYPES} y:{TYPES} -> z:{TYPES}",
    "low:int high:int?",
    compute=clip_sum,
)


def plugin(*schemas: Schema) -> Any:
    return SimpleNamespace(
        furiosa_plugin=hookimpl(lambda: PluginInfo("hello", "1.0")),
        furiosa_schemas=hookimpl(lambda: schemas),
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Any]],
    outputs: Iterable[str] = ("z",),
    *,
    version: int = 1,
    functions: Sequence[onnx.FunctionProto] = (),
) -> bytes:
    """A model whose inputs have the element types and shapes given, and untyped outputs."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *one) for name, one in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("hello", version)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)
    return bytes(made.SerializeToString())


def node(op: str, inputs: str, outputs: str = "z", **attributes: Any) -> onnx.NodeProto:
    """A node of the domain hello; "-" stands for an absent value."""
    read, written = (
        ["" if name == "-" else name for name in text.split()] for text in (inputs, outputs)
    )
    return helper.make_node(op, read, written, domain="hello", **attributes)


def sum_model(dtype: int = TensorProto.FLOAT, shape: Any = (2, 3), **attributes: Any) -> bytes:
    attributes = attributes or {"low": 2, "high": 7}
    return model([node("ClipSum", "x x", **attributes)], {"x": (dtype, shape)})


def unary(schema_op: str = "Op", shape: Any = (2, 3), **attributes: Any) -> bytes:
    """z = Op(x)."""
    return model([node(schema_op, "x", **attributes)], {"x": (TensorProto.FLOAT, shape)})


def cpu_session(made: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.register_custom_ops_library(furiosa_ep.get_library_path())
    return ort.InferenceSession(made, options, providers=[CPU])


def by_name(made: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(made, providers=PROVIDERS)


def by_device(made: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.add_provider_for_devices(devices(), {})
    return ort.InferenceSession(made, options)


def by_policy(made: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.set_provider_selection_policy(ort.OrtExecutionProviderDevicePolicy.PREFER_NPU)
    return ort.InferenceSession(made, options)


def by_provider(made: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.add_provider("FuriosaProvider", {})
    return ort.InferenceSession(made, options)


def devices() -> list[Any]:
    return [one for one in ort.get_ep_devices() if one.ep_name == "FuriosaProvider"]

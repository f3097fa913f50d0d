"""Copies of models, light ones above all: who reads bytes need not be given the weights.

Protobuf writes no message of 2 GB and more, and copies of weights take time. Shape inference, the
checker, the conversion of opsets and even ONNX Runtime do without them: large initializers are
inputs there.
"""

import math
from collections.abc import Container
from typing import Any, TypeVar

import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from furiosa_ep.quantization.samples import Feed

M = TypeVar("M", onnx.ModelProto, onnx.NodeProto, onnx.ValueInfoProto)

SMALL = 1024
"""Initializers of up to so many bytes stay in a light copy: shapes, axes, pads and the like."""


def copy_fields(source: Any, target: Any, without: Container[str] = ()) -> None:
    """Copy the fields of a protobuf message, but for some, to an empty one of the same kind."""
    for field, value in source.ListFields():
        if field.name in without:
            continue
        if hasattr(value, "ListFields"):
            getattr(target, field.name).CopyFrom(value)
        elif isinstance(value, str | bytes | int | float):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).extend(value)


def copy_without(model: onnx.ModelProto, *fields: str) -> onnx.ModelProto:
    """The model without some fields of its graph, as `initializer`."""
    copy = onnx.ModelProto()
    copy_fields(model, copy, {"graph"})
    copy.graph.SetInParent()
    copy_fields(model.graph, copy.graph, set(fields))
    return copy


def copied(message: M) -> M:
    """A copy of a model, a node or what is said of a value."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def light_copy(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.TensorProto]]:
    """The model with its large initializers as inputs, and these initializers."""
    light = copy_without(model, "initializer")
    inputs = {value.name for value in light.graph.input}
    weights = []
    for tensor in model.graph.initializer:
        if is_small(tensor):
            light.graph.initializer.append(tensor)
            continue
        weights.append(tensor)
        if tensor.name not in inputs:
            light.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return light, weights


def is_small(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor has so few elements that it stays in a light copy."""
    size: int = math.prod(tensor.dims) * 8
    return size <= SMALL


class Runner:
    """A model that ONNX Runtime computes node by node, without optimisations of its own."""

    def __init__(self, model: onnx.ModelProto) -> None:
        light, weights = light_copy(model)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        self._session = ort.InferenceSession(
            light.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in weights}

    def run(self, feed: Feed) -> list[Any]:
        """The outputs of the model: arrays, or lists of them where it has sequences."""
        outputs: list[Any] = self._session.run(None, {**self._weights, **feed})
        return outputs

"""Copies of models, light ones above all: who reads bytes need not be given the weights.

Protobuf writes no message of 2 GB and more, and copies of weights take time. Shape inference, the
checker, the conversion of opsets and even ONNX Runtime do without them: large initializers are
inputs there.
"""

import math
from collections.abc import Container, Iterable
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from furiosa_ep.graph.tensor import MEMORY_LOCATION
from furiosa_ep.quantization.samples import Array, Feed

M = TypeVar("M", onnx.ModelProto, onnx.NodeProto, onnx.ValueInfoProto)

SMALL = 1024
"""Initializers of up to so many bytes stay in a light copy: shapes, axes, pads and the like."""
ANYTHING = "@anything"
"""The external-data location of an initializer whose elements nobody needs to know."""


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


def shape_alone(name: str, dtype: int, dims: Iterable[int]) -> onnx.TensorProto:
    """An initializer of which only the shape and the type are known (`elements_of`)."""
    tensor = onnx.TensorProto(name=name, data_type=dtype, dims=dims)
    tensor.external_data.add(key="location", value=ANYTHING)
    return tensor


def is_shape_alone(tensor: onnx.TensorProto) -> bool:
    """Whether an initializer is one that `shape_alone` makes."""
    return any(one.value == ANYTHING for one in tensor.external_data)


def elements_of(tensor: onnx.TensorProto) -> Array:
    """The elements of an initializer; where nobody knows them, one half each, read-only."""
    if not is_shape_alone(tensor):
        return numpy_helper.to_array(tensor)
    half = np.asarray(0.5, helper.tensor_dtype_to_np_dtype(tensor.data_type))
    return np.broadcast_to(half, tensor.dims)


def reference_to(array: Array, name: str) -> onnx.TensorProto:
    """An initializer that refers to an array, which must outlive it, in this process's memory."""
    dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = onnx.TensorProto(name=name, data_type=dtype, dims=array.shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    places = {"location": MEMORY_LOCATION, "offset": array.ctypes.data, "length": array.nbytes}
    for key, value in places.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


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
        self._weights = {one.name: np.ascontiguousarray(elements_of(one)) for one in weights}

    def run(self, feed: Feed) -> list[Any]:
        """The outputs of the model: arrays, or lists of them where it has sequences."""
        outputs: list[Any] = self._session.run(None, {**self._weights, **feed})
        return outputs

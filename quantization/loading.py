"""Models as callers have them: a path, bytes, or a ModelProto."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import onnx
import onnx.external_data_helper

from furiosa_ep.quantization.errors import QuantizationError

ModelLike: TypeAlias = str | Path | bytes | onnx.ModelProto


def load_model(model: ModelLike) -> onnx.ModelProto:
    """A copy of the model, all of its weights included, that the caller may change.

    Weights that a file keeps outside of itself (external data) are read from beside it.

    Raises:
        QuantizationError: where the model or a file of its weights cannot be read, and where the
            weights of a model that is no path are in a file.
    """
    try:
        if isinstance(model, onnx.ModelProto):
            proto = onnx.ModelProto()
            proto.CopyFrom(model)
        elif isinstance(model, bytes):
            proto = onnx.load_model_from_string(model)
        else:
            proto = onnx.load_model(str(model), load_external_data=False)
    except FileNotFoundError as error:
        raise QuantizationError(f"no model file at {error.filename}") from error
    except Exception as error:  # protobuf raises different classes from version to version
        raise QuantizationError(f"not an ONNX model: {error}") from error
    external = next(_external_tensors(proto.graph), None)
    if external is None:
        return proto
    if isinstance(model, onnx.ModelProto | bytes):
        raise QuantizationError(
            f"the weights {external.name!r} are in a file beside the model: give the model's path, "
            "or what onnx.load makes of it"
        )
    try:
        onnx.external_data_helper.load_external_data_for_model(proto, str(Path(model).parent))
    except Exception as error:  # the checker's ValidationError, OSError, ValueError
        raise QuantizationError(
            f"the file of the weights {external.name!r} cannot be read: {error}"
        ) from error
    return proto


def _external_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The tensors of a graph and its subgraphs whose data are in a file."""
    external = onnx.TensorProto.EXTERNAL
    yield from (one for one in graph.initializer if one.data_location == external)
    for node in graph.node:
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                if tensor.data_location == external:
                    yield tensor
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _external_tensors(subgraph)

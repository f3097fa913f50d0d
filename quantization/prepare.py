"""Bring a float model into the shape that the quantizer needs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import onnx
import onnx.version_converter
import onnxruntime as ort

from furiosa_ep.quantization.errors import QuantizationError

ModelLike: TypeAlias = str | Path | bytes | onnx.ModelProto

MIN_OPSET = 13
"""The first opset whose QuantizeLinear has an axis, which per-channel weights need."""
MIN_IR_VERSION = 7
"""The IR version of `MIN_OPSET`; from 4 on, an initializer need not be an input."""
QUANTIZED_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"})


def load_model(model: ModelLike) -> onnx.ModelProto:
    """A copy of the model that the caller may change; raises `QuantizationError` if unreadable."""
    try:
        if isinstance(model, onnx.ModelProto):
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            return copy
        if isinstance(model, bytes):
            return onnx.load_model_from_string(model)
        return onnx.load_model(str(model))
    except FileNotFoundError as error:
        raise QuantizationError(f"no model file at {error.filename}") from error
    except Exception as error:  # protobuf raises different classes from version to version
        raise QuantizationError(f"not an ONNX model: {error}") from error


def prepare_model(model: ModelLike) -> onnx.ModelProto:
    """The same function as a simpler graph: constants folded, BatchNormalization in the weights.

    The result has opset 13 or later and no initializer among its inputs. The metadata of the
    model is kept.
    """
    proto = load_model(model)
    _refuse_quantized(proto)
    _drop_initializer_inputs(proto)
    proto = _fold(_raise_opset(proto))
    _flatten_gemm_biases(proto)
    _drop_unused_domains(proto)
    return proto


def _refuse_quantized(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in QUANTIZED_OPS:
            raise QuantizationError(
                f"node {node.name or node.output[0]!r} is a {node.op_type}: the model is quantized "
                "already; give the float model that it was made from"
            )


def _drop_initializer_inputs(model: onnx.ModelProto) -> None:
    constants = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)


def _raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next((entry.version for entry in model.opset_import if not entry.domain), MIN_OPSET)
    if opset >= MIN_OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, MIN_OPSET)
    except Exception as error:  # the converter raises RuntimeError and its own ConvertError
        raise QuantizationError(
            f"the model has opset {opset}, and its conversion to {MIN_OPSET} failed: {error}; "
            f"export it again with opset {MIN_OPSET} or later"
        ) from error
    converted.metadata_props.extend(
        entry for entry in model.metadata_props if entry not in converted.metadata_props
    )
    return converted


def _fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let ONNX Runtime apply its basic optimisations, which keep to the operators of ONNX."""
    with tempfile.TemporaryDirectory(prefix="furiosa-ep-") as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "folded.onnx")
        onnx.save_model(model, source)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        try:
            ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise QuantizationError(f"ONNX Runtime does not take the model: {error}") from error
        return onnx.load_model(target)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """ONNX Runtime declares all operator sets that it knows in the models that it writes."""
    used = {"", *_domains(model.graph)}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)


def _domains(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.domain
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _domains(subgraph)


def _flatten_gemm_biases(model: onnx.ModelProto) -> None:
    """Give Gemm biases of shape [1, N], which fused MatMul and Add have, the shape [N].

    They broadcast alike, and ONNX Runtime's quantizer indexes the bias by output channel.
    """
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3:
            continue
        bias = constants.get(node.input[2])
        users = [other.op_type for other in model.graph.node if node.input[2] in other.input]
        if (
            bias is not None
            and len(bias.dims) == 2
            and bias.dims[0] == 1
            and set(users) == {"Gemm"}
        ):
            del bias.dims[0]

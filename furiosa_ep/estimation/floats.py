"""Float models, as they would be if they were quantized whole."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from furiosa_ep.estimation.shapes import Shapes, enlarge, fix_shapes
from furiosa_ep.quantization.optimize import optimize
from furiosa_ep.quantization.optimize.copies import is_shape_alone
from furiosa_ep.quantization.optimize.editing import all_nodes
from furiosa_ep.quantization.optimize.shapes import infer_shapes
from furiosa_ep.quantization.optimize.standard_form import expand_functions, lift_constants
from furiosa_ep.quantization.units import Trial, find_trial

_OTHER_FLOATS = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def quantized_whole(model: onnx.ModelProto, batch: int | None, shapes: Shapes) -> tuple[Trial, int]:
    """What quantization would make of a light model, which is changed, and the batch.

    With made-up ranges and weights: nothing is calibrated. Floats of other precisions count as
    float32.

    Raises:
        EstimateError: as `fix_shapes`.
        QuantizationError: as `optimize`.
    """
    if model.functions:
        model = expand_functions(model)
    lift_constants(model.graph)
    _to_float32(model)
    _normalize_trivially(model)
    batch, larger = fix_shapes(model, batch, shapes)
    model = optimize(model, check=False)
    if larger:
        model = enlarge(model, larger)
        infer_shapes(model)
    return find_trial(model), batch


def _to_float32(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.tensor_type
        if kind.elem_type in _OTHER_FLOATS:
            kind.elem_type = TensorProto.FLOAT
    for tensor in (*model.graph.initializer, *_tensors_of_attributes(model.graph)):
        if tensor.data_type not in _OTHER_FLOATS:
            continue
        if is_shape_alone(tensor):
            tensor.data_type = TensorProto.FLOAT
        else:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for node in all_nodes(model.graph):
        if node.op_type == "Cast":
            for one in node.attribute:
                if one.name == "to" and one.i in _OTHER_FLOATS:
                    one.i = TensorProto.FLOAT


def _tensors_of_attributes(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    return (one.t for node in all_nodes(graph) for one in node.attribute if one.HasField("t"))


def _normalize_trivially(model: onnx.ModelProto) -> None:
    """Let BatchNormalization scale with 1, so that no weights are multiplied to fold it."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    ones: dict[int, str] = {}
    for node in model.graph.node:
        if node.op_type != "BatchNormalization" or node.domain:
            continue
        known = [tuple(constants[name].dims) for name in node.input[1:] if name in constants]
        if len(known) != 4 or known.count(known[0]) != 4 or len(known[0]) != 1:
            continue
        (length,) = known[0]
        if length not in ones:
            ones[length] = f"ones/{length}"
            array = np.ones(length, np.float32)
            model.graph.initializer.append(numpy_helper.from_array(array, ones[length]))
        node.input[1] = node.input[4] = ones[length]
        others = [one for one in node.attribute if one.name != "epsilon"]
        del node.attribute[:]
        node.attribute.extend(others)
        node.attribute.append(onnx.helper.make_attribute("epsilon", 0.0))

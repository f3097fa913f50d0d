"""What every rewrite takes for granted about a model."""

import onnx
import onnx.checker
import onnx.inliner

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.copies import is_shape_alone, light_copy
from furiosa_ep.quantization.optimize.editing import all_nodes
from furiosa_ep.quantization.optimize.shapes import STANDARD_DOMAINS

MIN_IR_VERSION = 7
"""From IR version 4 on, an initializer need not be an input; 7 is that of opset 13."""


def to_standard_form(model: onnx.ModelProto) -> None:
    """Change the model so that rewrites find one form of everything.

    Constants are initializers, which are no inputs; ONNX's own domain is the empty one; dims that
    are open have no length.

    Raises:
        QuantizationError: where ONNX's checker finds the model invalid.
    """
    _drop_initializer_inputs(model)
    _open_dims(model)
    _name_standard_domain(model)
    lift_constants(model.graph)
    light, weights = light_copy(model)
    try:
        check_model(light)
        for tensor in weights:
            if not is_shape_alone(tensor):
                onnx.checker.check_tensor(tensor)
    except Exception as error:  # ValidationError, and errors of names that are no text
        raise QuantizationError(f"not a valid ONNX model: {one_line(error)}") from error


def _drop_initializer_inputs(model: onnx.ModelProto) -> None:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)


def _open_dims(model: onnx.ModelProto) -> None:
    """Some exporters write the length -1 for a dim that is open."""
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.ClearField("dim_value")


def _name_standard_domain(model: onnx.ModelProto) -> None:
    for one in (*all_nodes(model.graph), *model.opset_import):
        if one.domain in STANDARD_DOMAINS and one.domain:
            one.domain = ""


def lift_constants(graph: onnx.GraphProto) -> None:
    """Make initializers of the Constant nodes that hold a tensor."""
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        tensor = None if node.domain else _constant_tensor(node)
        if tensor is None or node.output[0] in outputs:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


def _constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if node.op_type != "Constant" or len(node.output) != 1 or len(node.attribute) != 1:
        return None
    (one,) = node.attribute
    match one.name:
        case "value":
            tensor: onnx.TensorProto = one.t
            return tensor
        case "value_float":
            return onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, [], [one.f])
        case "value_int":
            return onnx.helper.make_tensor("", onnx.TensorProto.INT64, [], [one.i])
        case "value_floats":
            dims = [len(one.floats)]
            return onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, dims, one.floats)
        case "value_ints":
            return onnx.helper.make_tensor("", onnx.TensorProto.INT64, [len(one.ints)], one.ints)
    return None


def expand_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the nodes of the functions that it defines instead of calls to them."""
    if not model.functions:
        return model
    light, weights = light_copy(model)
    names = {tensor.name for tensor in weights}
    expanded = onnx.inliner.inline_local_functions(light, convert_version=True)
    inputs = [value for value in expanded.graph.input if value.name not in names]
    del expanded.graph.input[:]
    expanded.graph.input.extend(inputs)
    expanded.graph.initializer.extend(weights)
    used = {"", *(node.domain for node in all_nodes(expanded.graph))}
    opsets = [entry for entry in expanded.opset_import if entry.domain in used]
    del expanded.opset_import[:]
    expanded.opset_import.extend(opsets)
    return expanded


def check_model(light: onnx.ModelProto) -> None:
    """Let ONNX's checker raise what it finds wrong, but for outputs without a shape.

    Shape inference gives them one.
    """
    for output in light.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(light)


def one_line(error: Exception) -> str:
    """The message of an error of ONNX's, without lines and places in its sources."""
    return " ".join(str(error).rpartition(" failed: ")[2].split())

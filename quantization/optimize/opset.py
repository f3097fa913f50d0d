"""The version of ONNX's operators that the quantizer works on."""

from collections.abc import Sequence

import onnx
import onnx.version_converter

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.copies import copy_without, light_copy
from furiosa_ep.quantization.optimize.standard_form import check_model, one_line

LOWEST = 13
"""The first opset whose QuantizeLinear has an axis, which per-channel weights need."""
HIGHEST = 23
"""The last opset that rewrites know."""


def opset_of(model: onnx.ModelProto) -> int:
    """The model's version of ONNX's operators; `LOWEST` where it uses none of them."""
    return next((entry.version for entry in model.opset_import if not entry.domain), LOWEST)


def convert_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with operators of opset 13 to 23; it stays as it is where it has such.

    Raises:
        QuantizationError: where ONNX's converter fails.
    """
    opset = opset_of(model)
    target = min(max(opset, LOWEST), HIGHEST)
    if target == opset:
        if all(entry.domain for entry in model.opset_import):
            model.opset_import.append(onnx.helper.make_opsetid("", opset))
        return model
    light, weights = light_copy(model)
    try:
        converted = onnx.version_converter.convert_version(light, target)
        check_model(converted)
    except Exception as error:  # the converter raises RuntimeError and its own ConvertError
        limit = f"{LOWEST} or later" if opset < LOWEST else f"{HIGHEST} or earlier"
        raise QuantizationError(
            f"the model has opset {opset}, and its conversion to {target} failed: "
            f"{one_line(error)}; export it again with opset {limit}"
        ) from error
    return _with_nodes_of(converted, model, weights, target)


def _with_nodes_of(
    converted: onnx.ModelProto,
    model: onnx.ModelProto,
    weights: Sequence[onnx.TensorProto],
    opset: int,
) -> onnx.ModelProto:
    """The model as it was, with the nodes and small initializers of its conversion."""
    result = copy_without(model, "node", "initializer", "value_info")
    for entry in result.opset_import:
        if not entry.domain:
            entry.version = opset
    graph = result.graph
    graph.node.extend(converted.graph.node)
    graph.value_info.extend(converted.graph.value_info)
    own = {tensor.name: tensor for tensor in model.graph.initializer}
    graph.initializer.extend(own.get(one.name, one) for one in converted.graph.initializer)
    graph.initializer.extend(weights)
    return result

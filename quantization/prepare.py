"""The float model as the quantizer takes it: optimised, and not quantized already."""

import onnx

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.given import Given, take_out
from furiosa_ep.quantization.loading import ModelLike, load_model
from furiosa_ep.quantization.optimize import optimize

QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
INTEGER_OPS = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"})
QUANTIZED_OPS = INTEGER_OPS | {"DynamicQuantizeLinear"}


def prepare_model(model: ModelLike) -> onnx.ModelProto:
    """The same function as a simpler graph (`optimize`).

    Raises:
        QuantizationError: like `optimize`, and for a model that is quantized already.
    """
    prepared = optimize(model)
    _refuse(prepared, QDQ | QUANTIZED_OPS)
    return prepared


def prepare_trained(model: ModelLike) -> tuple[onnx.ModelProto, Given]:
    """Like `prepare_model`, for models that have QuantizeLinear and DequantizeLinear as well.

    Raises:
        QuantizationError: like `optimize`, for operators on integers, and for QuantizeLinear and
            DequantizeLinear that cannot be taken out.
    """
    loaded = load_model(model)
    _refuse(loaded, QUANTIZED_OPS)
    floats, given = take_out(loaded)
    prepared = optimize(floats)
    _refuse(prepared, QDQ | QUANTIZED_OPS)
    return prepared, given


def _refuse(model: onnx.ModelProto, op_types: frozenset[str]) -> None:
    for node in model.graph.node:
        if node.op_type in op_types:
            raise QuantizationError(
                f"node {node.name or node.output[0]!r} is a {node.op_type}: the model is quantized "
                "already; give the float model that it was made from"
            )

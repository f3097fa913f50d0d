"""The float model as the quantizer takes it: optimised, and not quantized already."""

import onnx

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.loading import ModelLike
from furiosa_ep.quantization.optimize import optimize

QUANTIZED_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"})


def prepare_model(model: ModelLike) -> onnx.ModelProto:
    """The same function as a simpler graph (`optimize`).

    Raises:
        QuantizationError: like `optimize`, and for a model that is quantized already.
    """
    prepared = optimize(model)
    for node in prepared.graph.node:
        if node.op_type in QUANTIZED_OPS:
            raise QuantizationError(
                f"node {node.name or node.output[0]!r} is a {node.op_type}: the model is quantized "
                "already; give the float model that it was made from"
            )
    return prepared

"""BatchNormalization with given statistics is a scale and a shift for each channel."""

import numpy as np
import onnx

from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.optimize.layers import (
    Affine,
    Channels,
    fold_into_producer,
    fold_into_reader,
    is_inference,
)


def fold_batch_normalization(model: onnx.ModelProto) -> onnx.ModelProto:
    """BatchNormalization joins the Conv, ConvTranspose, Gemm or MatMul before or behind it.

    Behind it only where no output sees padding, to which nothing would be added. Two of them become
    one; what has no such neighbour stays, for the NPU has it.
    """
    graph = EditableGraph(model)
    for node in graph.nodes("BatchNormalization"):
        f = _affine(graph, node)
        if f is None:
            continue

        def affine(channels: Channels, f: Affine = f) -> Affine | None:
            return (
                f
                if channels.count == f.scale.size and channels.rank - channels.behind == 2
                else None
            )

        x = node.input[0]
        if not fold_into_producer(graph, node, x, affine):
            fold_into_reader(graph, node, x, affine)
    return graph.model()


def _affine(graph: EditableGraph, node: onnx.NodeProto) -> Affine | None:
    constants = [graph.constant(name) for name in node.input[1:5]]
    if not is_inference(graph, node) or any(one is None for one in constants):
        return None
    wide = [one.astype(np.float64) for one in constants if one is not None]
    gamma, beta, mean, variance = wide
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        shift = beta - mean * scale
    return Affine(scale, shift) if np.isfinite([scale, shift]).all() else None

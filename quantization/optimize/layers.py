"""Layers: operators that are linear in their input, with constants that scale and shift can join.

All arithmetic on weights is in float64, and rounded once to their own type.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.copies import copied
from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.samples import Array

Factors: TypeAlias = npt.NDArray[np.float64]

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")
FLOATS = (np.float16, np.float32, np.float64)
FLOAT_TYPES = tuple(map(helper.np_dtype_to_tensor_dtype, map(np.dtype, FLOATS)))


class Affine(NamedTuple):
    """x * scale + shift, with one value of each for every channel."""

    scale: Factors
    shift: Factors

    @property
    def is_scaling(self) -> bool:
        """Whether it shifts nothing."""
        return not self.shift.any()


@dataclass(frozen=True)
class Channels:
    """Where the channels of a value are."""

    count: int
    behind: int
    """How many axes come after that of the channels."""
    rank: int


AffineOf: TypeAlias = Callable[[Channels], Affine | None]
"""What a node computes of each channel, or None where it is something else."""


def is_layer(node: onnx.NodeProto | None) -> bool:
    """Whether a node may be one of `LAYERS`."""
    return node is not None and not node.domain and node.op_type in LAYERS


def output_channels(graph: EditableGraph, layer: onnx.NodeProto) -> Channels | None:
    """The channels of a layer's output, or None where they are not known."""
    dims = _weight_dims(graph, layer)
    if not dims:
        return None
    if layer.op_type in ("MatMul", "BatchNormalization"):
        rank = graph.rank(layer.input[0])
        if rank is None or rank < 2:
            return None
        return Channels(dims[-1], 0 if layer.op_type == "MatMul" else rank - 2, rank)
    if layer.op_type == "Gemm":
        return Channels(dims[0 if attribute(layer, "transB", 0) else 1], 0, 2)
    if layer.op_type == "ConvTranspose":
        return Channels(dims[1] * attribute(layer, "group", 1), len(dims) - 2, len(dims))
    return Channels(dims[0], len(dims) - 2, len(dims))


def input_channels(graph: EditableGraph, layer: onnx.NodeProto) -> Channels | None:
    """The channels of a layer's input, or None where they are not known."""
    dims = _weight_dims(graph, layer)
    if not dims or layer.op_type == "BatchNormalization" or attribute(layer, "transA", 0):
        return None
    if layer.op_type == "MatMul":
        rank = graph.rank(layer.input[0])
        return None if rank is None or rank < 2 else Channels(dims[0], 0, rank)
    if layer.op_type == "Gemm":
        return Channels(dims[1 if attribute(layer, "transB", 0) else 0], 0, 2)
    if layer.op_type == "ConvTranspose":
        return Channels(dims[0], len(dims) - 2, len(dims))
    return Channels(dims[1] * attribute(layer, "group", 1), len(dims) - 2, len(dims))


def _weight_dims(graph: EditableGraph, layer: onnx.NodeProto) -> list[int] | None:
    """The shape of the weights; None where it is not known, or where their product has others."""
    shape = graph.shape(layer.input[1])
    dims = [dim for dim in shape or () if isinstance(dim, int)]
    if shape is None or len(dims) < len(shape):
        return None
    return None if layer.op_type == "MatMul" and len(dims) != 2 else dims


def per_channel(constant: Array, channels: Channels) -> Factors | None:
    """A constant that meets a value by broadcasting, as one number for each of its channels.

    None where it differs along other axes, or changes the shape of the value.
    """
    if constant.dtype not in FLOATS or constant.ndim > channels.rank:
        return None
    axis = constant.ndim - 1 - channels.behind
    for position, length in enumerate(constant.shape):
        if length != 1 and (position != axis or length != channels.count):
            return None
    return np.broadcast_to(constant.astype(np.float64).reshape(-1), channels.count)


def fold_into_producer(
    graph: EditableGraph, node: onnx.NodeProto, value: str, affine: AffineOf
) -> bool:
    """Let the layer that computes `value` also do what `node` does to it; whether it can."""
    layer = graph.producer(value, *LAYERS)
    if layer is None or graph.sole_reader(value) is not node:
        return False
    channels = output_channels(graph, layer)
    f = affine(channels) if channels is not None else None
    folded = _followed_by(graph, layer, f) if f is not None else None
    if folded is None:
        return False
    folded.output[0] = node.output[0]
    graph.replace([layer, node], folded)
    return True


def fold_into_reader(
    graph: EditableGraph, node: onnx.NodeProto, value: str, affine: AffineOf
) -> bool:
    """Let the layer that reads the node's result also do what `node` does to `value`."""
    layer = graph.sole_reader(node.output[0])
    if layer is None or not is_layer(layer) or layer.input[0] != node.output[0]:
        return False
    channels = input_channels(graph, layer)
    shape = graph.shape(value)
    if channels is None or shape is None or len(shape) != channels.rank:
        return False
    if shape[-1 - channels.behind] != channels.count:
        return False
    f = affine(channels)
    folded = _preceded_by(graph, layer, f) if f is not None else None
    if folded is None:
        return False
    folded.input[0] = value
    graph.replace([node, layer], folded)
    return True


def _followed_by(graph: EditableGraph, layer: onnx.NodeProto, f: Affine) -> onnx.NodeProto | None:
    """The layer with `f` of its output, or None where no weights can say that."""
    current = _parameters(graph, layer, f.scale.size)
    if current is None or (layer.op_type == "MatMul" and not f.is_scaling):
        return None
    weight, bias = current
    scaled = None
    with np.errstate(over="ignore", invalid="ignore"):
        if not (f.scale == 1).all():
            if weight is None:
                return None
            scaled = weight * _along_outputs(layer, weight, f.scale)
        if bias is not None or not f.is_scaling:
            bias = (0 if bias is None else bias) * f.scale + f.shift
    return _revised(graph, layer, scaled, bias)


def _preceded_by(graph: EditableGraph, layer: onnx.NodeProto, f: Affine) -> onnx.NodeProto | None:
    """The layer on `f` of its input, or None where no weights can say that."""
    channels = output_channels(graph, layer)
    current = None if channels is None else _parameters(graph, layer, channels.count)
    weight, bias = current or (None, None)
    if weight is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        if not f.is_scaling:
            if not _takes_shift(layer):
                return None
            shifts = weight * _along_inputs(layer, weight, f.shift)
            axes = (0,) if _is_rows_by_columns(layer) else tuple(range(1, weight.ndim))
            bias = (0 if bias is None else bias) + shifts.sum(axes)
        scaled = weight * _along_inputs(layer, weight, f.scale)
    return _revised(graph, layer, scaled, bias)


def _takes_shift(layer: onnx.NodeProto) -> bool:
    """Whether every output sees all inputs that its weights are for, so that a bias can shift."""
    if layer.op_type == "Conv":
        explicit = attribute(layer, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        return explicit and not any(attribute(layer, "pads", ()))
    return bool(layer.op_type == "Gemm")


def _parameters(
    graph: EditableGraph, layer: onnx.NodeProto, channels: int
) -> tuple[Array | None, Factors | None] | None:
    """Weights (None: not constant) and bias (None: absent), or None where they cannot change."""
    if layer.op_type == "Gemm" and not (
        attribute(layer, "alpha", 1.0) == attribute(layer, "beta", 1.0) == 1
    ):
        return None
    if layer.op_type == "BatchNormalization" and not is_inference(graph, layer):
        return None
    weight = graph.constant(layer.input[1])
    if weight is None and layer.op_type != "Conv":
        return None
    if weight is not None and weight.dtype not in FLOATS:
        return None
    if len(layer.input) < 3 or not layer.input[2]:
        return weight, None
    constant = graph.constant(layer.input[2])
    bias = None if constant is None else per_channel(constant, Channels(channels, 0, 2))
    return None if bias is None else (weight, bias)


def is_inference(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    """Whether a BatchNormalization uses given statistics, and nothing reads new ones."""
    return not attribute(node, "training_mode", 0) and not any(map(graph.is_used, node.output[1:]))


def _is_rows_by_columns(layer: onnx.NodeProto) -> bool:
    """Whether the weights are a matrix with a column for each output."""
    transposed = layer.op_type == "Gemm" and attribute(layer, "transB", 0)
    return layer.op_type in ("Gemm", "MatMul") and not transposed


def _along_outputs(layer: onnx.NodeProto, weight: Array, factors: Factors) -> Factors:
    """A factor for each output channel, in a shape that meets the weights."""
    if layer.op_type == "BatchNormalization":
        return factors
    if _is_rows_by_columns(layer):
        return factors[np.newaxis]
    if layer.op_type == "ConvTranspose":
        return _by_groups(layer, weight, factors)
    return _expanded(factors[:, np.newaxis], weight)


def _along_inputs(layer: onnx.NodeProto, weight: Array, factors: Factors) -> Factors:
    """A factor for each input channel, in a shape that meets the weights."""
    if layer.op_type == "Conv":
        return _by_groups(layer, weight, factors)
    if layer.op_type == "ConvTranspose" or _is_rows_by_columns(layer):
        return _expanded(factors[:, np.newaxis], weight)
    return factors[np.newaxis]


def _by_groups(layer: onnx.NodeProto, weight: Array, factors: Factors) -> Factors:
    """Factors for axis 1, which counts within the group that axis 0 belongs to."""
    group = attribute(layer, "group", 1)
    rows = np.repeat(factors.reshape(group, -1), weight.shape[0] // group, axis=0)
    return _expanded(rows, weight)


def _expanded(factors: Factors, weight: Array) -> Factors:
    return factors.reshape(*factors.shape, *[1] * (weight.ndim - factors.ndim))


def _revised(
    graph: EditableGraph, layer: onnx.NodeProto, weight: Factors | None, bias: Factors | None
) -> onnx.NodeProto | None:
    """The layer with other weights and bias (None: as they are), or None if these overflow."""
    if graph.dtype(layer.input[1]) not in FLOAT_TYPES:
        return None
    dtype = helper.tensor_dtype_to_np_dtype(graph.dtype(layer.input[1]))
    arrays = {1: weight, 2: bias}
    with np.errstate(over="ignore"):
        rounded = {i: a.astype(dtype) for i, a in arrays.items() if a is not None}
    if not all(np.isfinite(array).all() for array in rounded.values()):
        return None
    revised: onnx.NodeProto = copied(layer)
    for position, array in rounded.items():
        if position == len(revised.input):
            revised.input.append("")
        name = revised.input[position]
        if not name:
            name = graph.add_constant(array, f"{layer.name or layer.output[0]}_bias")
        else:
            name = graph.revise(name, array)
        revised.input[position] = name
    return revised

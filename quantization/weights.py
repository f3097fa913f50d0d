"""Layers with constant weights, and these weights as int8: symmetric, one scale per channel."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.editing import attribute

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

LIMIT = 127
"""Integer weights are from -127 to 127."""
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Below this, float32 numbers lose digits, and processors take their time."""
LARGEST_BIAS = 2.0**30
"""Integer biases are held to this, so that sums of products have room in int32 beside them."""

_FLOAT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class Layer:
    """A Conv, ConvTranspose, Gemm or MatMul whose second input is a float initializer."""

    node: onnx.NodeProto
    weight: str
    """The initializer with the weights, of at least two dims."""
    dims: tuple[int, ...]
    """The shape of the weights."""
    bias: str
    """The initializer with one bias for each output channel; "" for any other third input."""
    axis: int | None
    """The axis of the weights along which they have scales; None for a single scale."""

    @property
    def input(self) -> str:
        """The value that the weights meet."""
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        """The value that the layer computes."""
        return str(self.node.output[0])

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.node.name or self.node.output[0])

    @property
    def groups(self) -> int:
        """Into how many parts that do not meet each other the channels fall."""
        if self.node.op_type in ("Conv", "ConvTranspose"):
            return int(attribute(self.node, "group", 1))
        return math.prod(self.dims[:-2])

    @property
    def input_channels(self) -> int:
        """How many channels it reads."""
        match self.node.op_type:
            case "Conv":
                return self.dims[1] * self.groups
            case "ConvTranspose":
                return self.dims[0]
        return self.dims[-1] if self._is_transposed else self.dims[-2]

    @property
    def output_channels(self) -> int:
        """How many channels it computes."""
        match self.node.op_type:
            case "Conv":
                return self.dims[0]
            case "ConvTranspose":
                return self.dims[1] * self.groups
        return self.dims[-2] if self._is_transposed else self.dims[-1]

    @property
    def takes_bias(self) -> bool:
        """Whether it has a constant bias, or none where it could have one."""
        absent = len(self.node.input) < 3 or not self.node.input[2]
        return bool(self.bias) or (absent and self.node.op_type != "MatMul")

    def rows(self, weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The weights as [groups, output channels of a group, inputs of each].

        Scales along `axis` and biases are in the order of the first two together.
        """
        groups = self.groups
        match self.node.op_type:
            case "Conv":
                return weight.reshape(groups, self.dims[0] // groups, -1)
            case "ConvTranspose":
                split = weight.reshape(groups, self.dims[0] // groups, self.dims[1], -1)
                return split.swapaxes(1, 2).reshape(groups, self.dims[1], -1)
        stack = weight.reshape(groups, *self.dims[-2:])
        return stack if self._is_transposed else stack.swapaxes(1, 2)

    def from_rows(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The weights whose `rows` are given."""
        groups = self.groups
        if self.node.op_type == "ConvTranspose":
            split = rows.reshape(groups, self.dims[1], self.dims[0] // groups, -1)
            return split.swapaxes(1, 2).reshape(self.dims)
        if self.node.op_type != "Conv" and not self._is_transposed:
            rows = rows.swapaxes(1, 2)
        return rows.reshape(self.dims)

    @property
    def _is_transposed(self) -> bool:
        return self.node.op_type == "Gemm" and bool(attribute(self.node, "transB", 0))


@dataclass(frozen=True)
class QuantizedWeight:
    """Weights as `integers * scale`."""

    integers: npt.NDArray[np.int8]
    """In the shape of the weights."""
    scale: npt.NDArray[np.float32]
    """One value without dims, or one for each entry along `axis`."""
    axis: int | None

    def dequantized(self) -> npt.NDArray[np.float32]:
        """The weights as DequantizeLinear computes them."""
        scale = along(self.scale, self.axis, self.integers.ndim)
        found: npt.NDArray[np.float32] = self.integers.astype(np.float32) * scale
        return found


def layers(model: onnx.ModelProto, *, per_channel: bool = True) -> list[Layer]:
    """The layers of the main graph, in its order.

    Scales are along the output channels where operators take them so: axis 0 of a Conv, the columns
    of a Gemm or of the matrix of a MatMul, axis 1 of a ConvTranspose of one group and axis 0 of a
    depthwise one. There is a single scale for other weights, for weights that layers read along
    different axes, and without `per_channel` for all.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = list(_layers(model.graph, constants))
    axes = Counter(weight for weight, _ in {(one.weight, one.axis) for one in found})
    single = {name for name, count in axes.items() if count > 1 or not per_channel}
    return [replace(one, axis=None) if one.weight in single else one for one in found]


def _layers(graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto]) -> Iterator[Layer]:
    for node in graph.node:
        if node.domain or node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        weight = constants.get(node.input[1])
        if weight is None or weight.data_type not in _FLOAT_TYPES or len(weight.dims) < 2:
            continue
        if node.input[0] in constants or 0 in weight.dims:
            continue
        dims = tuple(weight.dims)
        layer = Layer(node, weight.name, dims, "", _axis_of_scales(node, dims))
        bias = constants.get(node.input[2]) if len(node.input) > 2 else None
        lengths = set() if bias is None else {math.prod(bias.dims), ([*bias.dims] or [1])[-1]}
        if bias is not None and lengths == {layer.output_channels}:
            layer = replace(layer, bias=bias.name)
        yield layer


def _axis_of_scales(node: onnx.NodeProto, dims: tuple[int, ...]) -> int | None:
    match node.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            group = attribute(node, "group", 1)
            depthwise = group == dims[0] and dims[1] == 1
            return 1 if group == 1 else 0 if depthwise else None
        case "Gemm":
            return 0 if attribute(node, "transB", 0) else 1
    return 1 if len(dims) == 2 else None


def weights_of(model: onnx.ModelProto, names: set[str]) -> dict[str, Floats]:
    """The initializers of these names."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name in names
    }


def quantize_weight(
    array: Floats, axis: int | None, scale: npt.ArrayLike | None = None, *, layer: str = ""
) -> QuantizedWeight:
    """The nearest integers from -127 to 127 times the scale.

    Without a scale, each channel's greatest magnitude is 127; a channel of zeros has the largest
    scale of the others. `layer` is named in errors.

    Raises:
        QuantizationError: for NaN or infinite weights, and weights whose scale overflows.
    """
    check_finite(array, axis, layer)
    if scale is None:
        scale = scales_of(magnitudes(array, axis))
    rounded = np.maximum(np.asarray(scale, np.float64), SMALLEST_SCALE).astype(np.float32)
    steps = np.rint(array / along(rounded.astype(np.float64), axis, array.ndim))
    return QuantizedWeight(np.clip(steps, -LIMIT, LIMIT).astype(np.int8), rounded, axis)


def magnitudes(array: Floats, axis: int | None) -> npt.NDArray[np.float64]:
    """The greatest magnitude of each channel, or of all weights."""
    others = tuple(i for i in range(array.ndim) if axis is None or i != axis % array.ndim)
    found: npt.NDArray[np.float64] = np.abs(array).max(others).astype(np.float64)
    return found


def scales_of(magnitude: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scales, none of them zero, that give these magnitudes the integer 127."""
    largest = float(magnitude.max()) or float(LIMIT)
    return np.where(magnitude > 0, magnitude, largest) / LIMIT


def raise_for_bias(
    scale: npt.NDArray[np.float32], input_scale: float, bias: Floats | None
) -> npt.NDArray[np.float32]:
    """The scales of weights, raised where an int32 bias needs that.

    The bias of a channel has the scale of the input times that of the weights: it must hold the
    bias in 2^30 steps, and be no smaller than float32 has with all digits.
    """
    least = np.full(scale.shape, SMALLEST_SCALE / input_scale)
    if bias is not None:
        needed = np.abs(bias.reshape(-1)).astype(np.float64) / (LARGEST_BIAS * input_scale)
        least = np.maximum(least, needed if scale.ndim else needed.max())
    return np.maximum(scale, least.astype(np.float32))


def along(scale: npt.NDArray[Any], axis: int | None, rank: int) -> npt.NDArray[Any]:
    """Scales in a shape that meets the weights."""
    if axis is None:
        return scale.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return scale.reshape(shape)


def check_finite(array: Floats, axis: int | None, layer: str) -> None:
    """Refuse weights that are not finite.

    Raises:
        QuantizationError: for them, with the layer and its channels.
    """
    if np.isfinite(array).all():
        return
    kind = "NaN" if np.isnan(array).any() else "infinity"
    where = ""
    if axis is not None:
        bad = [
            str(i)
            for i, one in enumerate(np.moveaxis(array, axis, 0))
            if not np.isfinite(one).all()
        ]
        more = f" and {len(bad) - 8} more" if len(bad) > 8 else ""
        where = f" in the output channels {', '.join(bad[:8])}{more}"
    raise QuantizationError(
        f"the weights of {layer!r} have {kind} in them{where}: "
        "the float model is broken; train or export it again"
    )

"""What the weights of a layer meet: its input, one row for each output position."""

import numpy as np
import numpy.typing as npt
from onnx import helper

from furiosa_ep.partitioner.operators.windows import Pair, transposed_window, window
from furiosa_ep.quantization.optimize.editing import attribute
from furiosa_ep.quantization.samples import Array
from furiosa_ep.quantization.weights import Floats, Layer


def has_patches(layer: Layer) -> bool:
    """Whether `patches` takes the layer: convolutions over one or two axes, and matrices."""
    if layer.node.op_type == "MatMul":
        return len(layer.dims) == 2
    return len(layer.dims) in (2, 3, 4)


def patches(layer: Layer, x: Array, most: int, random: np.random.Generator) -> Floats:
    """The inputs of at most `most` output positions: [groups, positions, depth].

    The depth is that of `Layer.rows`, so that the output without the bias is patches times rows.
    Pads are zeros. Positions are picked at random where there are more.
    """
    if layer.node.op_type in ("Gemm", "MatMul"):
        rows = x.T if attribute(layer.node, "transA", 0) else x.reshape(-1, layer.input_channels)
        return rows[_picked(rows.shape[0], most, random)][np.newaxis]
    pixels = x.reshape(*x.shape[:2], *[1] * (4 - x.ndim), *x.shape[2:])
    output, axes = _axes(layer, x.shape[2:])
    picked = _picked(x.shape[0] * output[0] * output[1], most, random)
    samples, rows, columns = np.unravel_index(picked, (x.shape[0], *output))
    (y, y_in), (x_at, x_in) = (
        axis.inputs(positions) for axis, positions in zip(axes, (rows, columns), strict=True)
    )
    inside = y_in[:, :, None] & x_in[:, None, :]
    found = pixels[samples[:, None, None], :, y[:, :, None], x_at[:, None, :]] * inside[..., None]
    # [positions, kernel, kernel, channels], of which channels become the outer part of the depth
    by_channel = np.moveaxis(found, 3, 1).reshape(len(picked), layer.groups, -1)
    return by_channel.swapaxes(0, 1)


class _Axis:
    """Which inputs each output sees along one axis."""

    def __init__(self, *, length: int, kernel: int, stride: int, dilation: int, pad: int) -> None:
        self._length, self._stride, self._pad = length, stride, pad
        self._taps = np.arange(kernel) * dilation

    def inputs(self, outputs: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], Array]:
        """Indices of inputs, and whether they are none of the padding: [outputs, kernel]."""
        found = outputs[:, None] * self._stride - self._pad + self._taps
        return _within(found, self._length)


class _TransposedAxis(_Axis):
    """The same for ConvTranspose, where inputs lie a stride apart."""

    def inputs(self, outputs: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], Array]:
        """Indices of inputs, and whether there is one: [outputs, kernel]."""
        between = outputs[:, None] + self._pad - self._taps
        found, inside = _within(between // self._stride, self._length)
        return found, inside & (between % self._stride == 0)


def _axes(layer: Layer, spatial: tuple[int, ...]) -> tuple[Pair, list[_Axis]]:
    """Height and width of the output, and both axes."""
    attributes = {one.name: helper.get_attribute_value(one) for one in layer.node.attribute}
    attributes["auto_pad"] = attributes.get("auto_pad", b"NOTSET").decode()
    transposed = layer.node.op_type == "ConvTranspose"
    found = (
        transposed_window(attributes, spatial, layer.dims[2:])[0]
        if transposed
        else window(attributes, spatial, layer.dims[2:])
    )
    kind = _TransposedAxis if transposed else _Axis
    lengths = (1, *spatial)[-2:]
    return found.output, [
        kind(
            length=lengths[i],
            kernel=found.kernel[i],
            stride=found.strides[i],
            dilation=found.dilations[i],
            pad=found.pads[i],
        )
        for i in range(2)
    ]


def _within(
    indices: npt.NDArray[np.intp], length: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    return indices.clip(0, length - 1), (indices >= 0) & (indices < length)


def _picked(count: int, most: int, random: np.random.Generator) -> npt.NDArray[np.intp]:
    return np.arange(count) if count <= most else np.sort(random.choice(count, most, replace=False))

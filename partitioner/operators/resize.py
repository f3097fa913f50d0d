"""Resize and Upsample: nearest neighbours of any mode, and linear interpolation of images."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import DeviceValue, ElementType, Graph, QuantParams
from furiosa_ep.kernels.reference.resize_linear import (
    FIXED,
    FLOAT,
    TRUNCATED,
    interpolation,
    original_coordinate,
)
from furiosa_ep.partitioner.operators.emitting import finish, reshape, transpose
from furiosa_ep.partitioner.operators.layout import between_convolutions, bytes_channels_last
from furiosa_ep.partitioner.operators.onnxruntime_version import older_than
from furiosa_ep.partitioner.operators.rules import (
    HAS_AXES,
    MOVEMENT,
    attribute,
    describe,
    known,
    operand,
    present,
    quantization,
)
from furiosa_ep.partitioner.support import (
    Builder,
    DeclineCode,
    NodeUnit,
    OperatorSupport,
    constraint,
)

Indices = npt.NDArray[np.int64]

TRANSFORMS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
)
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def nearest(resized: int, original: int, scale: np.float32, transform: str, mode: str) -> Indices:
    """The source index of every resized index along one axis."""
    if scale == 1 and resized == original:
        return np.arange(resized)
    if transform == "tf_half_pixel_for_nn":
        x = (np.arange(resized, dtype=np.float32) + np.float32(0.5)) / scale
    else:
        x = original_coordinate(resized, original, scale, transform)
    match mode:
        case "round_prefer_floor":
            tie = x == np.trunc(x) + np.float32(0.5)
            places = np.where(tie, np.floor(x), _round_away(x))
        case "round_prefer_ceil":
            places = _round_away(x)
        case "floor":
            places = np.floor(x)
        case "ceil":
            places = np.ceil(x)
        case _:  # Upsample: truncated, and up where the image gets smaller.
            places = np.ceil(x) if scale < 1 else np.trunc(x)
    return np.clip(places.astype(np.int64), 0, original - 1)


def _round_away(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """C's round: halves away from zero."""
    return np.copysign(np.floor(np.abs(x) + np.float32(0.5)), x)


def factors(
    unit: NodeUnit, builder: Builder, shape: Sequence[int]
) -> tuple[list[int], list[np.float32]]:
    """The resized dims and the factor of each axis."""
    node = unit.node
    upsample = node.op_type == "Upsample"
    axes = [axis % len(shape) for axis in node.attributes.get("axes") or range(len(shape))]
    scales = _numbers(unit, builder, "scales", 1 if upsample or node.opset < 11 else 2)
    dims, ratios = list(shape), [np.float32(1)] * len(shape)
    if scales:
        for axis, scale in zip(axes, scales, strict=True):
            ratios[axis] = np.float32(scale)
            dims[axis] = int(np.float32(scale) * np.float32(shape[axis]))
        return dims, ratios
    sizes = _numbers(unit, builder, "sizes", 3)
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        pick = min if policy == "not_larger" else max
        ratio = pick(np.float32(s) / np.float32(shape[a]) for a, s in zip(axes, sizes, strict=True))
        for axis in axes:
            ratios[axis] = ratio
            dims[axis] = int(np.floor(ratio * np.float32(shape[axis]) + np.float32(0.5)))
        return dims, ratios
    for axis, size in zip(axes, sizes, strict=True):
        dims[axis] = int(size)
        ratios[axis] = np.float32(int(size)) / np.float32(shape[axis])
    return dims, ratios


def _numbers(unit: NodeUnit, builder: Builder, name: str, position: int) -> list[float]:
    if name in unit.node.attributes:
        return list(unit.node.attributes[name])
    given = unit.node.input(position)
    array = builder.folded(given) if given else None
    return [] if array is None else array.reshape(-1).tolist()


def lower(unit: NodeUnit, builder: Builder) -> None:
    """One ResizeNearest on an image, Gathers on other axes, or one ResizeLinear."""
    x = builder.value(unit.inputs[0])
    dims, ratios = factors(unit, builder, x.shape)
    if dims == list(x.shape) and all(ratio == 1 for ratio in ratios):
        finish(unit, builder, x, quantization(unit.inputs[0], builder.graph))
    elif unit.node.attributes.get("mode", "nearest") == "nearest":
        y = _nearest(unit, x, dims, ratios, builder)
        finish(unit, builder, y, quantization(unit.inputs[0], builder.graph))
    else:
        builder.set(unit.outputs[0], _linear(unit, x, dims, ratios, builder))


def _transform(unit: NodeUnit) -> str:
    old = unit.node.op_type == "Upsample" or unit.node.opset < 11
    default = "asymmetric" if old else "half_pixel"
    return str(unit.node.attributes.get("coordinate_transformation_mode", default))


def _nearest(
    unit: NodeUnit,
    x: DeviceValue,
    dims: Sequence[int],
    ratios: Sequence[np.float32],
    builder: Builder,
) -> DeviceValue:
    old = unit.node.op_type == "Upsample" or unit.node.opset < 11
    mode = "simple" if old else unit.node.attributes.get("nearest_mode", "round_prefer_floor")
    indices = [
        nearest(dim, original, ratio, _transform(unit), mode)
        for dim, original, ratio in zip(dims, x.shape, ratios, strict=True)
    ]
    spatial = (2, 3) if len(x.shape) == 4 else ()
    for axis, places in enumerate(indices):
        if axis not in spatial and (len(places) != x.shape[axis] or (np.diff(places) != 1).any()):
            shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
            x = builder.emit("Gather", [x], shape, signed=x.signed, axis=axis, indices=places)
    if not spatial or x.shape == tuple(dims):
        return x
    rows, columns = (indices[axis].astype(np.int32) for axis in spatial)
    return builder.emit("ResizeNearest", [x], dims, signed=x.signed, rows=rows, columns=columns)


def _linear(
    unit: NodeUnit,
    x: DeviceValue,
    dims: Sequence[int],
    ratios: Sequence[np.float32],
    builder: Builder,
) -> DeviceValue:
    if len(x.shape) == 2:
        image = reshape(x, (1, 1, *x.shape), builder)
        y = _interpolate(unit, image, (1, 1, *dims), ratios, builder)
        return reshape(y, dims, builder)
    width_alone = ratios[2] == 1 and ratios[3] != 1
    if width_alone and between_convolutions(unit.node, builder.graph):
        # ONNX Runtime runs it on [N, H, W, C] here, and takes the last two axes for the image.
        order = (0, 2, 3, 1)
        x = transpose(x, order, builder)
        dims, ratios = [dims[axis] for axis in order], [ratios[axis] for axis in order]
        return transpose(_interpolate(unit, x, dims, ratios, builder), (0, 3, 1, 2), builder)
    return _interpolate(unit, x, dims, ratios, builder)


def _interpolate(
    unit: NodeUnit,
    x: DeviceValue,
    dims: Sequence[int],
    ratios: Sequence[np.float32],
    builder: Builder,
) -> DeviceValue:
    (y,) = unit.outputs
    x_params = quantization(unit.inputs[0], builder.graph)
    transform = _transform(unit)
    variant, kind = _variant(unit, x_params, builder)
    rows, row_weights = interpolation(dims[-2], x.shape[-2], float(ratios[-2]), transform, kind)
    columns, column_weights = interpolation(
        dims[-1], x.shape[-1], float(ratios[-1]), transform, kind
    )
    return builder.emit(
        "ResizeLinear",
        [x],
        dims,
        signed=y.params.signed if y.params else x.signed,
        rows=rows,
        row_weights=row_weights,
        columns=columns,
        column_weights=column_weights,
        x_params=x_params,
        y_params=y.params,
        variant=variant,
    )


def _variant(unit: NodeUnit, x_params: QuantParams | None, builder: Builder) -> tuple[str, int]:
    """How ONNX Runtime interpolates: in float32, or on bytes, which depends on their layout."""
    if x_params is not None:
        same = x_params == unit.outputs[0].params and not x_params.signed
        if not (same and drops_quantization()):
            return "float", FLOAT
    if bytes_channels_last(unit.node, builder.graph):
        return "fixed", FIXED
    return "truncated", TRUNCATED


def drops_quantization() -> bool:
    """Whether ONNX Runtime takes DequantizeLinear and QuantizeLinear away around a linear Resize.

    Up to 1.26 it does so where both have the same parameters, and interpolates bytes.
    """
    return older_than(1, 27)


@constraint(DeclineCode.ATTRIBUTE, "Resize with mode nearest or linear, without antialias.")
def known_mode(unit: NodeUnit, graph: Graph) -> str | None:
    """The mode must be nearest or linear (bilinear), without antialias or a region of interest."""
    attributes = unit.node.attributes
    mode = attributes.get("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear"):
        return f"mode={mode!r}"
    if attributes.get("antialias", 0):
        return "antialias=1"
    transform = _transform(unit)
    allowed = TRANSFORMS if mode == "nearest" else TRANSFORMS[:-1]
    return None if transform in allowed else f"coordinate_transformation_mode={transform!r}"


@constraint(DeclineCode.SHAPE, "Resize height and width of an image only.")
def image_if_linear(unit: NodeUnit, graph: Graph) -> str | None:
    """Linear interpolation must change the height and width of an image only."""
    if unit.node.attributes.get("mode", "nearest") == "nearest":
        return None
    shape = graph.shape(unit.inputs[0].name) or ()
    if len(shape) == 2:
        return None
    axes = [axis % 4 for axis in unit.node.attributes.get("axes") or range(4)]
    outer = [axis for axis in axes if axis < 2]
    if len(shape) != 4:
        return describe(unit.inputs[0], graph)
    position = 1 if unit.node.op_type == "Upsample" or unit.node.opset < 11 else 2
    scales = graph.constant(unit.node.input(position))
    given = unit.node.attributes.get("scales") or (None if scales is None else scales.tolist())
    if given and any(given[axes.index(axis)] != 1 for axis in outer):
        return f"scales {given}"
    result = graph.shape(unit.outputs[0].name)
    if outer and not given and (result is None or result[:2] != shape[:2]):
        return f"{describe(unit.inputs[0], graph)} to {describe(unit.outputs[0], graph)}"
    return None


@constraint(DeclineCode.DTYPE, "Quantize both the input and the result.")
def quantized_if_linear(unit: NodeUnit, graph: Graph) -> str | None:
    """Linear interpolation must be of uint8 as it is, or of a quantized value to another one."""
    if unit.node.attributes.get("mode", "nearest") == "nearest":
        return None
    x, y = unit.inputs[0], unit.outputs[0]
    if quantization(x, graph) is None:
        return describe(x, graph) if graph.dtype(x.name) != ElementType.UINT8 else None
    return describe(y, graph) if y.params is None else None


@constraint(DeclineCode.MISSING_INPUT, "Give the operator scales or sizes.")
def sized(unit: NodeUnit, graph: Graph) -> str | None:
    """Either scales or sizes must be given."""
    if "scales" in unit.node.attributes or (present(unit, 1) and unit.node.opset < 11):
        return None
    if unit.node.op_type == "Upsample":
        return None if present(unit, 1) else "neither"
    scales = graph.constant(operand(unit, 2).name) if present(unit, 2) else None
    empty = scales is not None and scales.size == 0
    return None if present(unit, 3) or (present(unit, 2) and not empty) else "neither"


_SHARED = (
    *MOVEMENT,
    HAS_AXES,
    attribute("nearest_mode", NEAREST_MODES, "round_prefer_floor"),
    known_mode,
    sized,
    image_if_linear,
    quantized_if_linear,
)

SUPPORT = (
    OperatorSupport(
        "Resize",
        lower,
        (
            *_SHARED,
            known(1, "scales"),
        ),
        since=10,
        until=10,
    ),
    OperatorSupport("Resize", lower, (*_SHARED, known(2, "scales"), known(3, "sizes")), since=11),
    OperatorSupport("Upsample", lower, (*_SHARED, known(1, "scales")), since=7, until=9),
)

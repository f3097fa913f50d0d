"""Windows that slide over one or two axes: the geometry of Conv, ConvTranspose and pools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from furiosa_ep.graph import DeviceValue, Graph
from furiosa_ep.partitioner.operators.emitting import reshape
from furiosa_ep.partitioner.support import Builder, DeclineCode, NodeUnit, constraint

Pair = tuple[int, int]

AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Window:
    """A window over two axes; one over a single axis has height 1."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    output: Pair
    """Height and width of what the windows yield."""

    @property
    def attributes(self) -> dict[str, Any]:
        """Strides, dilations and pads, as device operations name them."""
        return {"strides": self.strides, "dilations": self.dilations, "pads": self.pads}


def image(value: DeviceValue, builder: Builder) -> DeviceValue:
    """[N, C, W] as [N, C, 1, W]; an image as it is."""
    if len(value.shape) == 3:
        return reshape(value, (*value.shape[:2], 1, value.shape[2]), builder)
    return value


def unimage(value: DeviceValue, rank: int, builder: Builder) -> DeviceValue:
    """The inverse of `image` for a result that must have `rank` dims."""
    if rank == 3:
        return reshape(value, (*value.shape[:2], value.shape[3]), builder)
    return value


def window(attributes: Mapping[str, Any], spatial: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of a Conv or pool node over an input of the given spatial dims (one or two)."""
    count = len(spatial)
    strides = attributes.get("strides") or [1] * count
    dilations = attributes.get("dilations") or [1] * count
    given = attributes.get("pads") or [0] * (2 * count)
    auto_pad = attributes.get("auto_pad", "NOTSET")
    begins, ends, output = [], [], []
    for axis in range(count):
        extent = dilations[axis] * (kernel[axis] - 1) + 1
        begin, end = given[axis], given[count + axis]
        if auto_pad == "VALID":
            begin, end = 0, 0
        elif auto_pad != "NOTSET":
            windows = -(-spatial[axis] // strides[axis])
            total = max(0, (windows - 1) * strides[axis] + extent - spatial[axis])
            begin = total // 2 if auto_pad == "SAME_UPPER" else (total + 1) // 2
            end = total - begin
        room = spatial[axis] + begin + end - extent
        size = room // strides[axis] + 1
        if attributes.get("ceil_mode", 0) and auto_pad in ("NOTSET", "VALID"):
            size = -(-room // strides[axis]) + 1
            if (size - 1) * strides[axis] >= spatial[axis] + begin:
                size -= 1  # a window must begin inside the image or its leading padding
        begins.append(begin)
        ends.append(end)
        output.append(size)
    return Window(
        kernel=_pair(kernel, 1),
        strides=_pair(strides, 1),
        dilations=_pair(dilations, 1),
        pads=(*_pair(begins, 0), *_pair(ends, 0)),
        output=_pair(output, 1),
    )


def transposed_window(
    attributes: Mapping[str, Any], spatial: Sequence[int], kernel: Sequence[int]
) -> tuple[Window, Pair]:
    """The window of a ConvTranspose node, and its output padding."""
    count = len(spatial)
    strides = attributes.get("strides") or [1] * count
    dilations = attributes.get("dilations") or [1] * count
    extra = list(attributes.get("output_padding") or [0] * count)
    given = attributes.get("pads") or [0] * (2 * count)
    wanted = list(attributes.get("output_shape") or [])[-count:]
    auto_pad = attributes.get("auto_pad", "NOTSET")
    begins, ends, output = [], [], []
    for axis in range(count):
        full = (spatial[axis] - 1) * strides[axis] + extra[axis]
        full += (kernel[axis] - 1) * dilations[axis] + 1
        begin, end = given[axis], given[count + axis]
        same = auto_pad in ("SAME_UPPER", "SAME_LOWER")
        if auto_pad == "VALID":
            begin, end = 0, 0
        if wanted or same:
            size = wanted[axis] if wanted else spatial[axis] * strides[axis]
            total = max(0, full - size)
            extra[axis] += max(0, size - full) if wanted else 0
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        begins.append(begin)
        ends.append(end)
        output.append(wanted[axis] if wanted else full - begin - end)
    geometry = Window(
        kernel=_pair(kernel, 1),
        strides=_pair(strides, 1),
        dilations=_pair(dilations, 1),
        pads=(*_pair(begins, 0), *_pair(ends, 0)),
        output=_pair(output, 1),
    )
    return geometry, _pair(extra, 0)


def _pair(values: Sequence[int], missing: int) -> Pair:
    height, width = (missing, *values) if len(values) == 1 else values
    return int(height), int(width)


@constraint(DeclineCode.ATTRIBUTE, "Use explicit pads.")
def known_auto_pad(unit: NodeUnit, graph: Graph) -> str | None:
    """Attribute auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER."""
    value = unit.node.attributes.get("auto_pad", "NOTSET")
    return None if value in AUTO_PADS else f"auto_pad={value!r}"


@constraint(DeclineCode.ATTRIBUTE, "Crop with Slice instead of negative pads.")
def no_negative_pads(unit: NodeUnit, graph: Graph) -> str | None:
    """Pads must not be negative."""
    pads = unit.node.attributes.get("pads") or []
    return f"pads={list(pads)}" if any(pad < 0 for pad in pads) else None

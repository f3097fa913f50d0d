"""Where values should lie: the order of their axes in memory, and values inside of others.

Both are wishes. The emission follows them where an operation can write so, and copies where not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from furiosa_ep.compiler.codegen.views import Buffer, Shape, View
from furiosa_ep.compiler.opcodes import CHANNELS_LAST, ELEMENTWISE, operand
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.program import Storage

_INVERTIBLE = frozenset({"Reshape", "Transpose"})


@dataclass(frozen=True)
class Part:
    """A value is the part of `parent` from `starts` on."""

    parent: DeviceValue
    starts: Shape


@dataclass(frozen=True)
class Alias:
    """A value is the input of a movement whose result has a place of its own."""

    movement: Operation


@dataclass(frozen=True)
class Output:
    """A value is an output of the Program."""

    index: int


Placement = Part | Alias | Output


@dataclass
class Layout:
    """The plan for all values of a graph."""

    orders: dict[DeviceValue, Shape] = field(default_factory=dict)
    """The axes from the outermost in memory to the innermost."""
    channels_last: set[DeviceValue] = field(default_factory=set)
    """The values that an image operation reads, directly or through elementwise ones."""
    placements: dict[DeviceValue, Placement] = field(default_factory=dict)


def channels_last_order(rank: int) -> Shape:
    """N, spatial axes, C."""
    return (0, *range(2, rank), 1)


def plan_layout(graph: DeviceGraph) -> Layout:
    """The layout of the values of `graph`."""
    layout = Layout(channels_last=_wanted_channels_last(graph))
    for operation in graph.operations:
        layout.orders[operation.output] = _order(operation, layout)
    _Placer(graph, layout).run()
    return layout


def _wanted_channels_last(graph: DeviceGraph) -> set[DeviceValue]:
    wanted: set[DeviceValue] = set()
    through = ELEMENTWISE | {"Concat", "Pad", "Slice"}
    for operation in reversed(graph.operations):
        if operation.kind in CHANNELS_LAST:
            wanted.add(operand(operation))
        if operation.kind == "Reshape" and operation.output in wanted:
            x = operand(operation)
            if operation.output.shape == (*x.shape[:2], 1, *x.shape[2:]):
                wanted.add(x)  # one spatial axis, as an image of height 1
        if operation.kind in CHANNELS_LAST | through and operation.output in wanted:
            rank = len(operation.output.shape)
            wanted.update(
                value
                for value in operation.inputs
                if value is not None and value.constant is None and len(value.shape) == rank
            )
    return wanted


def _order(operation: Operation, layout: Layout) -> Shape:
    output = operation.output
    rank = len(output.shape)
    natural = tuple(range(rank))
    kind = operation.kind
    if kind in CHANNELS_LAST or (
        kind in ("Quantize", "Lookup") and output in layout.channels_last and rank >= 3
    ):
        return channels_last_order(rank)
    if kind in ("MatMul", "Reduce") or (kind == "Call" and _is_row_major(operation)):
        return natural
    inputs = [value for value in operation.inputs if value is not None]
    largest = max(inputs, key=lambda value: (value.constant is None, _elements(value)))
    order = layout.orders.get(largest, tuple(range(len(largest.shape))))
    if kind == "Transpose":
        perm = tuple(operation.attributes["perm"])
        return tuple(perm.index(axis) for axis in order)
    if kind in ("Reshape", "Gather"):
        # A Gather along an axis replaces it by the axes of its indices; the rest stays in order.
        dense = View.dense(Buffer(Storage.ARENA, 0), largest.dtype, largest.shape, order)
        moved = dense.reshape(output.shape) if kind == "Reshape" else None
        return natural if moved is None else moved.memory_order()
    return order if len(order) == rank else natural


def _is_row_major(call: Operation) -> bool:
    kernel: Kernel = call.attributes["kernel"]
    return not kernel.strided or all(value is None for value in call.inputs)


def _elements(value: DeviceValue) -> int:
    count = 1
    for dim in value.shape:
        count *= dim
    return count


class _Placer:
    """Finds values that can be written where their consumer wants them."""

    def __init__(self, graph: DeviceGraph, layout: Layout) -> None:
        self._graph = graph
        self._producers = graph.producers()
        self._placements = layout.placements
        self._outputs = set(graph.outputs)

    def run(self) -> None:
        """Place outputs of the Program first, then parts of Concat and Pad, the last ones first."""
        for index, value in enumerate(self._graph.outputs):
            if value in self._producers and value not in self._placements:
                self._place(value, Output(index))
        for operation in reversed(self._graph.operations):
            for value, starts in self._parts(operation):
                if value not in self._outputs:
                    self._place(value, Part(operation.output, starts))

    def _place(self, value: DeviceValue, placement: Placement) -> None:
        producer = self._producers.get(value)
        while producer is not None and value not in self._placements:
            self._placements[value] = placement
            if producer.kind not in _INVERTIBLE or operand(producer) in self._outputs:
                return
            value, placement = operand(producer), Alias(producer)
            producer = self._producers.get(value)

    def _parts(self, operation: Operation) -> Iterator[tuple[DeviceValue, Shape]]:
        if operation.kind == "Pad":
            yield (
                operand(operation),
                tuple(operation.attributes["pads"][: len(operation.output.shape)]),
            )
        if operation.kind != "Concat":
            return
        axis = operation.attributes["axis"] % len(operation.output.shape)
        inputs = [value for value in operation.inputs if value is not None]
        position = 0
        for i, value in enumerate(inputs):
            starts = [0] * len(value.shape)
            starts[axis] = position
            producer = self._producers.get(value)
            if producer is not None and producer.kind == "Slice":
                source = operand(producer)
                if self._covers(inputs[i:], source, axis):
                    yield source, tuple(starts)
            elif producer is not None and producer.kind != "Expand":
                yield value, tuple(starts)
            position += value.shape[axis]

    def _covers(self, values: Sequence[DeviceValue], source: DeviceValue, axis: int) -> bool:
        """Whether the first of `values` are all of `source` in order, cut along `axis`."""
        position = 0
        for value in values:
            producer = self._producers.get(value)
            if producer is None or producer.kind != "Slice" or operand(producer) is not source:
                return False
            starts = [0] * len(source.shape)
            starts[axis] = position
            if (
                tuple(producer.attributes["starts"]) != tuple(starts)
                or any(step != 1 for step in producer.attributes["steps"])
                or value.shape[:axis] + value.shape[axis + 1 :]
                != source.shape[:axis] + source.shape[axis + 1 :]
            ):
                return False
            position += value.shape[axis]
            if position == source.shape[axis]:
                return True
        return False

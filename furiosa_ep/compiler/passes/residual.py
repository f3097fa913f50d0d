"""The residual connection: an Add of a convolution's result goes into the convolution."""

from furiosa_ep.compiler.opcodes import add_coefficients, operand
from furiosa_ep.compiler.passes.uses import Uses, joined_name
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Residual
from furiosa_ep.program import DType


def fuse_residual_adds(graph: DeviceGraph) -> None:
    """Move an Add into the Conv that computes one operand, where nothing else reads that operand.

    Of two convolutions the later one takes the Add, and both together take the Add's place in the
    order, so that the other operand is there.
    """
    uses = Uses.of(graph)
    position = {id(operation): i for i, operation in enumerate(graph.operations)}
    moved: dict[int, Operation] = {}
    dead = []
    for add in graph.operations:
        if add.kind != "Add" or add.inputs[0] is add.inputs[1] or not _fits_int32(add):
            continue
        candidates = [
            (position[id(conv)], side)
            for side, value in enumerate(add.inputs)
            if (conv := _convolution(value, add, uses)) is not None
        ]
        if not candidates:
            continue
        _, side = max(candidates)
        value, other = operand(add, side), operand(add, 1 - side)
        conv = uses.producers[value]
        conv.inputs = [*conv.inputs[:4], other]
        params = {key: add.attributes[key] for key in ("a_params", "b_params", "y_params")}
        residual = Residual(**params, first=side == 1)
        conv.attributes = {**conv.attributes, "residual": residual}
        if add.attributes.get("table") is not None:
            conv.attributes["residual_table"] = add.attributes["table"]
        conv.outputs = add.outputs
        conv.name = joined_name(conv, add)
        uses.producers[add.output] = conv
        position[id(conv)] = position[id(add)]
        moved[id(add)] = conv
        dead.append(conv)
    gone = set(map(id, dead))
    graph.operations = [
        moved.get(id(operation), operation)
        for operation in graph.operations
        if id(operation) not in gone
    ]


def _fits_int32(add: Operation) -> bool:
    """Whether every sum fits an int32 before it is clamped.

    ADD takes one that does not for the lowest value, CONV clamps it.
    """
    a, b, y = (add.attributes[name] for name in ("a_params", "b_params", "y_params"))
    coefficients = map(float, add_coefficients(a, b, y))
    a_scale, b_scale, offset = map(abs, coefficients)
    return 255 * (a_scale + b_scale) + offset < 2**31


def _convolution(value: DeviceValue | None, add: Operation, uses: Uses) -> Operation | None:
    """The Conv that computes an operand of `add` and can take it."""
    if value is None or value.shape != add.output.shape:
        return None
    conv = uses.only_producer(value)
    if conv is None or conv.kind != "Conv" or "residual" in conv.attributes:
        return None
    if any(one is None or one.shape != value.shape for one in add.inputs):
        return None
    table = add.attributes.get("table")
    per_channel = table is not None and table.channel_axis is not None
    return conv if value.dtype == DType.U8 and not per_channel else None

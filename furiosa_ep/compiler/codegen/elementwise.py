"""QUANTIZE, DEQUANTIZE, COPY, ADD, MUL and EXPRESSION."""

from furiosa_ep.compiler.codegen.emitter import Emitter
from furiosa_ep.compiler.codegen.registry import emits
from furiosa_ep.compiler.codegen.views import View
from furiosa_ep.compiler.opcodes import OPCODE, elementwise_attributes, operand
from furiosa_ep.graph import Operation
from furiosa_ep.program import OPCODES

_TRANSPOSING = frozenset({"Quantize", "Dequantize", "Lookup"})
"""Kinds that write as fast in another order of axes than they read in."""


@emits("Quantize", "Dequantize", "Lookup", "Add", "Mul", "Expression")
def emit_elementwise(operation: Operation, emitter: Emitter) -> None:
    """One command on collapsed views."""
    output = operation.output
    anywhere = operation.kind in _TRANSPOSING and output not in emitter.layout.channels_last
    y = emitter.allocate(output, _always if anywhere else None)
    opcode = OPCODE[operation.kind]
    schema = OPCODES[opcode]
    tensors = [name for name in schema.inputs if name != "table"]
    operands: list[View | None] = [
        emitter.view(operand(operation, position)) if position < len(operation.inputs) else None
        for position in range(len(tensors))
    ]
    keep: tuple[int, ...] = ()
    channel_axis = None
    if "table" in schema.inputs:
        keep = (len(operands),)
        operands.append(emitter.table(operation))
        table = operation.attributes.get("table")
        if table is not None and table.channel_axis is not None:
            channel_axis = table.channel_axis % len(output.shape)
    emitter.elementwise(
        opcode, operands, y, elementwise_attributes(operation), keep=keep, last_axis=channel_axis
    )


def _always(view: View) -> bool:
    return True

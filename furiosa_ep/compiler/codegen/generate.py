"""From the device graph to the Program."""

from collections.abc import Sequence

from furiosa_ep.compiler.codegen import calls, elementwise, images, matrices, movement  # register
from furiosa_ep.compiler.codegen.constants import Allocate
from furiosa_ep.compiler.codegen.emitter import Emitter
from furiosa_ep.compiler.codegen.layout import plan_layout
from furiosa_ep.compiler.codegen.registry import EMITTERS
from furiosa_ep.compiler.errors import CompileError
from furiosa_ep.compiler.memory_plan import plan_memory
from furiosa_ep.graph import DeviceGraph, Operation
from furiosa_ep.program import Binding, Program

__all__ = ["calls", "elementwise", "generate", "images", "matrices", "movement"]


def generate(
    graph: DeviceGraph,
    inputs: Sequence[str],
    outputs: Sequence[str],
    allocate: Allocate = bytearray,
) -> Program:
    """The Program of a device graph.

    Args:
        graph: the operations.
        inputs: the names of what it reads.
        outputs: the names of what it writes.
        allocate: gives memory for its constants.
    """
    emitter = Emitter(graph, plan_layout(graph))
    for operation in graph.operations:
        emitter.name = operation.name
        _check_elements(operation)
        if 0 in operation.output.shape:
            emitter.allocate(operation.output)
        else:
            EMITTERS[operation.kind](operation, emitter)
    emitter.write_outputs()
    arena_size = plan_memory(emitter.arena)
    return Program(
        tensors=emitter.tensors(),
        commands=emitter.commands,
        inputs=[
            Binding(name, value.dtype, value.shape)
            for name, value in zip(inputs, graph.inputs, strict=True)
        ],
        outputs=[
            Binding(name, value.dtype, value.shape)
            for name, value in zip(outputs, graph.outputs, strict=True)
        ],
        constants=emitter.constants.write(allocate),
        arena_size=arena_size,
    )


def _check_elements(operation: Operation) -> None:
    empty = any(value is not None and 0 in value.shape for value in operation.inputs)
    if empty and 0 not in operation.output.shape and operation.kind not in ("Concat", "Pad"):
        raise CompileError(
            f"{operation.name}: {operation.kind} of a value without elements is undefined; "
            "the shapes of the inputs must leave it some"
        )

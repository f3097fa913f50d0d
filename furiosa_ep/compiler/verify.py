"""Checks that a device graph is well formed; run between the stages of the compiler."""

from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.compiler.opcodes import OPCODE
from furiosa_ep.compiler.shapes import check_shape
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.program import DType

MOVEMENT = frozenset({"Reshape", "Transpose", "Slice", "Expand", "Concat", "Pad"})
"""The kinds that move elements and compute nothing."""

KINDS = MOVEMENT | OPCODE.keys()


def verify(graph: DeviceGraph, stage: str) -> None:
    """Check that every value is computed once, before it is read, and fits its operations.

    Raises:
        InternalError: where they do not; names the stage, the operation and the rule.
    """
    known = set(graph.inputs)
    for operation in graph.operations:
        try:
            _check(operation, known)
        except ValueError as error:
            raise InternalError(
                f"after {stage}: {operation.kind} of {operation.name!r}: {error}"
            ) from error
        known.update(operation.outputs)
    for value in graph.outputs:
        if value not in known and value.constant is None:
            raise InternalError(f"after {stage}: output {value.name!r} is never computed")


def _check(operation: Operation, known: set[DeviceValue]) -> None:
    if operation.kind not in KINDS:
        raise ValueError("unknown kind")
    for value in operation.inputs:
        if value is not None and value.constant is None and value not in known:
            raise ValueError(f"reads {value.name!r} before it is computed")
    for value in operation.outputs:
        if value in known or value.constant is not None:
            raise ValueError(f"computes {value.name!r} again")
    output = operation.output
    shapes = [None if value is None else value.shape for value in operation.inputs]
    check_shape(operation.kind, shapes, operation.attributes, output.shape)
    _check_dtypes(operation)
    residual = operation.attributes.get("residual")
    if residual is not None and shapes[-1] != output.shape:
        raise ValueError(f"residual of shape {shapes[-1]} for an output of {output.shape}")


def _check_dtypes(operation: Operation) -> None:
    output = operation.output
    kind = operation.kind
    if kind == "Call":
        dtypes = [None if value is None else value.dtype.name.lower() for value in operation.inputs]
        kernel: Kernel = operation.attributes["kernel"]
        kernel.check_call([*dtypes, output.dtype.name.lower()], operation.attributes["values"])
        return
    (first, *_) = [value for value in operation.inputs if value is not None]
    if kind in MOVEMENT:
        for value in operation.inputs:
            if value is not None and value.dtype != output.dtype:
                raise ValueError(f"{value.dtype.name} to {output.dtype.name}: expected the same")
        return
    reads = {"Quantize": {DType.F32}, "Expression": {DType.U8, DType.F32}}
    writes = {"Dequantize": {DType.F32}, "Quantize": {DType.U8}}
    # Lookups at the border of the partition read and write external int8 values.
    reads["Lookup"] = writes["Lookup"] = {DType.U8, DType.I8}
    if first.dtype not in reads.get(kind, {DType.U8}):
        raise ValueError(f"operand {first.name!r} is {first.dtype.name}")
    if output.dtype not in writes.get(kind, {DType.U8, DType.F32, DType.I8}):
        raise ValueError(f"output is {output.dtype.name}")

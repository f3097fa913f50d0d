"""Checks that a device graph is well formed; run between the stages of the compiler."""

from typing import Any

from furiosa_ep.compiler.errors import InternalError
from furiosa_ep.compiler.opcodes import CHANNELS_LAST, ELEMENTWISE
from furiosa_ep.compiler.shapes import check_shape
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, Residual, Table
from furiosa_ep.graph.kinds import KINDS, TABLE_SLOTS, are_integers
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.program import DType

_MOST_OPERANDS = 4
"""Of an Expression."""


def verify(graph: DeviceGraph, stage: str, *, tables: bool = False) -> None:
    """Check that every value is computed once, before it is read, and fits its operations.

    Args:
        graph: what to check.
        stage: what has made it, for the error.
        tables: whether to evaluate and check the tables, too.

    Raises:
        InternalError: where something does not fit; names the stage, the operation and the rule.
    """
    known = set(graph.inputs)
    for operation in graph.operations:
        if not isinstance(operation, Operation):
            raise InternalError(f"after {stage}: {operation!r} is no Operation")
        try:
            _check(operation, known)
            if tables:
                _check_tables(operation)
        except Exception as error:  # What is malformed may fail in any way.
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise InternalError(
                f"after {stage}: {operation.kind} of {operation.name!r}: {reason}"
            ) from error
        known.add(operation.output)
    for value in graph.outputs:
        if value not in known and value.constant is None:
            raise InternalError(f"after {stage}: output {value.name!r} is never computed")


def _check(operation: Operation, known: set[DeviceValue]) -> None:
    kind = KINDS.get(operation.kind)
    if kind is None:
        raise ValueError("unknown kind")
    for value in operation.inputs:
        if value is None:
            continue
        if value.constant is not None:
            _check_constant(value)
        elif value not in known:
            raise ValueError(f"reads {value.name!r} before it is computed")
    if len(operation.outputs) != 1:
        raise ValueError(f"{len(operation.outputs)} outputs: expected one")
    output = operation.output
    if output in known or output.constant is not None:
        raise ValueError(f"computes {output.name!r} again")
    if not are_integers(output.shape):
        raise ValueError(f"output {output.shape}: expected integers")
    if type(output.dtype) is not DType or not isinstance(operation.name, str):
        raise ValueError(f"output of type {output.dtype!r}: expected a DType, and a str for a name")
    kind.check(operation)
    shapes = [None if value is None else value.shape for value in operation.inputs]
    check_shape(operation.kind, shapes, operation.attributes, output.shape)
    special = _SPECIAL.get(operation.kind)
    if special is not None:
        special(operation)
    for slot in TABLE_SLOTS:
        table = operation.attributes.get(slot)
        if table is not None:
            _check_table(operation, table)


def _check_constant(value: DeviceValue) -> None:
    array: Any = value.constant
    if array.shape != value.shape or array.dtype != value.dtype.numpy:
        raise ValueError(
            f"constant {value.name!r} is {array.dtype} {list(array.shape)}: expected "
            f"{value.dtype.name} {list(value.shape)}"
        )


def _check_table(operation: Operation, table: Table) -> None:
    """Whether the operation's result can be looked up in a table of these channels."""
    output, axis = operation.output, table.channel_axis
    if output.dtype == DType.F32:
        raise ValueError("a float result takes no table")
    if axis is None:
        return
    rank = len(output.shape)
    if not -rank <= axis < rank:
        raise ValueError(f"a table for each index of axis {axis} of {list(output.shape)}")
    if operation.kind not in (CHANNELS_LAST if axis % rank == 1 else ()) and (
        operation.kind not in ELEMENTWISE
    ):
        raise ValueError(f"no table for each index of axis {axis}")


def _check_tables(operation: Operation) -> None:
    for slot in TABLE_SLOTS:
        table: Table | None = operation.attributes.get(slot)
        if table is None:
            continue
        rows = () if table.channel_axis is None else (operation.output.shape[table.channel_axis],)
        if table.values.shape != (*rows, 256) or table.values.dtype != DType.U8.numpy:
            raise ValueError(
                f"attribute {slot!r} is {table.values.dtype} {list(table.values.shape)}: expected "
                f"uint8 {[*rows, 256]}"
            )


def _check_conv(operation: Operation) -> None:
    output = operation.output
    residual: Residual | None = operation.attributes.get("residual")
    others = [value for value in operation.inputs[4:] if value is not None]
    if len(others) != (residual is not None):
        raise ValueError("a residual needs an operand and an attribute of that name")
    if others and (others[0].shape != output.shape or output.dtype == DType.F32):
        raise ValueError(
            f"residual of shape {others[0].shape} for an output of {output.dtype.name} "
            f"{output.shape}"
        )
    if residual is None and operation.attributes.get("residual_table") is not None:
        raise ValueError("a residual_table without a residual")


def _check_quantized(operation: Operation) -> None:
    if operation.output.dtype != DType.F32 and operation.attributes.get("y_params") is None:
        raise ValueError("attribute 'y_params' is missing: the result is quantized")


def _check_expression(operation: Operation) -> None:
    _check_quantized(operation)
    if len(operation.inputs) > _MOST_OPERANDS:
        raise ValueError(f"{len(operation.inputs)} operands: expected at most {_MOST_OPERANDS}")
    _check_params(operation)


def _check_params(operation: Operation) -> None:
    if len(operation.attributes["params"]) != len(operation.inputs):
        raise ValueError(
            f"attribute 'params' has {len(operation.attributes['params'])} entries: expected "
            f"{len(operation.inputs)}"
        )


def _check_call(operation: Operation) -> None:
    _check_params(operation)
    kernel: Kernel = operation.attributes["kernel"]
    dtypes = [None if value is None else value.dtype.name.lower() for value in operation.inputs]
    kernel.check_call(
        [*dtypes, operation.output.dtype.name.lower()], operation.attributes["values"]
    )


_SPECIAL = {
    "Conv": _check_conv,
    "ConvTranspose": _check_quantized,
    "Reduce": _check_quantized,
    "LpNormalization": _check_quantized,
    "Expression": _check_expression,
    "Call": _check_call,
}
"""What more has to hold for single kinds."""

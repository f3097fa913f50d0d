"""MATMUL, REDUCE, SOFTMAX and LP_NORMALIZATION: commands with a meaning for the last dims."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from furiosa_ep.compiler.codegen.emitter import Emitter
from furiosa_ep.compiler.codegen.registry import emits
from furiosa_ep.compiler.codegen.views import Shape, View, collapse
from furiosa_ep.compiler.opcodes import operand, quantization
from furiosa_ep.graph import Operation
from furiosa_ep.kernels.reference.reduce import L2, MAX, MEAN, SUM, reduction_order
from furiosa_ep.kernels.reference.softmax import exp_table

REDUCTIONS: Mapping[str, int] = {"mean": MEAN, "sum": SUM, "max": MAX, "l2": L2}
"""The attribute `kind` of REDUCE."""


@emits("MatMul")
def emit_matmul(operation: Operation, emitter: Emitter) -> None:
    """MATMUL, with as few batch dims as possible."""
    attributes = operation.attributes
    a, b = emitter.view(operand(operation)), emitter.view(operand(operation, 1))
    y = emitter.allocate(operation.output)
    batch = y.dims[:-2]
    views = [a.expand((*batch, *a.dims[-2:])), b.expand((*batch, *b.dims[-2:])), y]
    dims, strides = collapse_outer(batch, [view.strides[:-2] for view in views])
    left, right, result = (
        replace(view, dims=(*dims, *view.dims[-2:]), strides=(*own, *view.strides[-2:]))
        for view, own in zip(views, strides, strict=True)
    )
    emitter.command(
        "MATMUL",
        [left, right, emitter.table(operation), result],
        {
            "a_zero_point": attributes["a_zero_point"],
            "b_zero_point": attributes["b_zero_point"],
            "y_zero_point": attributes["y_zero_point"],
            "multiplier": float(np.asarray(attributes["multiplier"]).reshape(-1)[0]),
        },
    )


@emits("Softmax")
def emit_softmax(operation: Operation, emitter: Emitter) -> None:
    """SOFTMAX along the axis that becomes the last dim."""
    attributes = operation.attributes
    x = operand(operation)
    table = exp_table(attributes["x_params"].scale, x.shape[attributes["axis"]])
    source, y = _along_axis(operation, emitter)
    emitter.command(
        "SOFTMAX",
        [source, emitter.constant(table), emitter.table(operation), y],
        {"precision": attributes["precision"], **quantization(attributes["y_params"], "y")},
    )


@emits("LpNormalization")
def emit_lp_normalization(operation: Operation, emitter: Emitter) -> None:
    """LP_NORMALIZATION along the axis that becomes the last dim."""
    attributes = operation.attributes
    emitter.command(
        "LP_NORMALIZATION",
        _along_axis(operation, emitter),
        {"p": attributes["p"], **_quantizations(attributes)},
    )


@emits("Reduce")
def emit_reduce(operation: Operation, emitter: Emitter) -> None:
    """REDUCE, with the dims in the order in which ONNX Runtime visits them."""
    attributes, x = operation.attributes, operand(operation)
    kind = REDUCTIONS[attributes["reduction"]]
    axes = sorted(axis % len(x.shape) for axis in attributes["axes"])
    plan = reduction_order(x.shape, axes, kind, attributes.get("channels_last", False))
    source, y = emitter.view(x), emitter.allocate(operation.output)
    kept = [axis if attributes["keepdims"] else axis - _below(axes, axis) for axis in plan.kept]
    outer, (x_outer, y_outer) = collapse_outer(
        [x.shape[axis] for axis in plan.kept],
        [source.transpose(plan.kept).strides, y.transpose(kept).strides],
    )
    # The runs that IN_PACKETS adds by themselves stay dims of their own.
    split = len(plan.reduced) - plan.inner
    runs, (x_runs,) = _collapsed(source, plan.reduced[:split])
    inner, (x_inner,) = _collapsed(source, plan.reduced[split:])
    emitter.command(
        "REDUCE",
        [
            replace(source, dims=(*outer, *runs, *inner), strides=(*x_outer, *x_runs, *x_inner)),
            emitter.table(operation),
            replace(y, dims=outer, strides=y_outer),
        ],
        {
            "kind": kind,
            "count": len(runs) + len(inner),
            "order": plan.order,
            "inner": len(inner) if plan.inner else 0,
            **_quantizations(attributes),
        },
    )


def _below(axes: Sequence[int], axis: int) -> int:
    return sum(one < axis for one in axes)


def _collapsed(view: View, axes: Sequence[int]) -> tuple[Shape, list[Shape]]:
    """Some axes of a view with as few dims as possible; none only where there are no axes."""
    if not axes:
        return (), [()]
    return collapse([view.dims[axis] for axis in axes], [view.transpose(axes).strides])


def collapse_outer(
    dims: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[Shape, list[Shape]]:
    """`collapse` for dims in front of others: none may be left."""
    merged, rows = collapse(dims, strides)
    return ((), [() for _ in rows]) if merged == (1,) else (merged, rows)


def _along_axis(operation: Operation, emitter: Emitter) -> tuple[View, View]:
    """Input and output with the attribute `axis` as the last of as few dims as possible."""
    output = operation.output
    axis = operation.attributes["axis"] % len(output.shape)
    source, y = emitter.view(operand(operation)), emitter.allocate(output)
    order = [*(one for one in y.memory_order() if one != axis), axis]
    views = [source.transpose(order), y.transpose(order)]
    dims, strides = collapse(views[0].dims, [view.strides for view in views], keep_last=True)
    x, y = (replace(view, dims=dims, strides=own) for view, own in zip(views, strides, strict=True))
    return x, y


def _quantizations(attributes: Mapping[str, Any]) -> dict[str, int | float]:
    return {
        **quantization(attributes["x_params"], "x"),
        **quantization(attributes["y_params"], "y"),
    }

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
from furiosa_ep.kernels.reference.softmax import exp_table

REDUCTIONS: Mapping[str, int] = {"mean": 0, "sum": 1, "max": 2, "l2": 3}
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
        {"kind": int(attributes.get("variant", 0)), **_quantizations(attributes)},
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
    """REDUCE of the axes that become the last dims, in ONNX's order."""
    attributes, x = operation.attributes, operand(operation)
    rank = len(x.shape)
    reduced = sorted(axis % rank for axis in attributes["axes"])
    kept = [axis for axis in range(rank) if axis not in reduced]
    source, y = emitter.view(x), emitter.allocate(operation.output)
    if attributes["keepdims"]:
        y = y.transpose(kept)
    outer, (x_outer, y_outer) = collapse_outer(
        [x.shape[axis] for axis in kept], [source.transpose(kept).strides, y.strides]
    )
    inner, (x_inner,) = collapse(
        [x.shape[axis] for axis in reduced], [source.transpose(reduced).strides]
    )
    emitter.command(
        "REDUCE",
        [
            replace(source, dims=(*outer, *inner), strides=(*x_outer, *x_inner)),
            emitter.table(operation),
            replace(y, dims=outer, strides=y_outer),
        ],
        {
            "kind": REDUCTIONS[attributes["reduction"]],
            "count": len(inner),
            **_quantizations(attributes),
        },
    )


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

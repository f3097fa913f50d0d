"""Moving bytes: COPY, FILL, RESIZE_NEAREST and GATHER."""

from typing import Any

import numpy.typing as npt

from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, present, reference


@reference("COPY")
def _copy(operands: Operands, _attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, table = operands
    out[...] = lookup(table, present(x))


@reference("FILL")
def _fill(_operands: Operands, attributes: Attributes, out: npt.NDArray[Any]) -> None:
    out[...] = attributes["value"]


@reference("RESIZE_NEAREST")
def _resize_nearest(operands: Operands, _attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, rows, columns, table = operands
    out[...] = lookup(table, present(x)[:, present(rows)][:, :, present(columns)])


@reference("GATHER")
def _gather(operands: Operands, _attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, indices, table = operands
    out[...] = lookup(table, present(x)[:, present(indices)])

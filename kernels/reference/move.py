"""Moving bytes: COPY, FILL, RESIZE_NEAREST and GATHER."""

from typing import Any

import numpy.typing as npt

from furiosa_ep.kernels.reference._registry import Attributes, Operands, lookup, reference


@reference("COPY")
def _copy(operands: Operands, _attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, table = operands
    assert x is not None
    out[...] = lookup(table, x)


@reference("FILL")
def _fill(_operands: Operands, attributes: Attributes, out: npt.NDArray[Any]) -> None:
    out[...] = attributes["value"]


@reference("RESIZE_NEAREST")
def _resize_nearest(operands: Operands, _attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, rows, columns, table = operands
    assert x is not None and rows is not None and columns is not None
    out[...] = lookup(table, x[:, rows][:, :, columns])


@reference("GATHER")
def _gather(operands: Operands, _attributes: Attributes, out: npt.NDArray[Any]) -> None:
    x, indices, table = operands
    assert x is not None and indices is not None
    out[...] = lookup(table, x[:, indices])

"""REDUCE: means, sums, maxima and norms, in the orders in which ONNX Runtime adds float32."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.kernels.reference._float import store, to_float
from furiosa_ep.kernels.reference._registry import Attributes, Operands, present, reference

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

MEAN, SUM, MAX, L2 = range(4)
"""The values of `kind`."""
IN_SEQUENCE, IN_PACKETS, IN_FOURS = range(3)
"""The values of `order`."""


@reference("REDUCE")
def reduce(operands: Operands, attributes: Attributes, out: Array) -> None:
    """x[K..., R...] -> out[K...], over the last `count` dims, in float32.

    MEAN is the sum divided by the number of elements, L2 the root of the sum of fl(x * x). `order`
    says how the elements of a row (those of one result, row-major) are added:

    * IN_SEQUENCE: one after the other.
    * IN_FOURS: sum = fl(four + sum), where a four is ((x0 + x1) + x2) + x3; then the pair and the
      single element that are left, likewise.
    * IN_PACKETS: each run of the last `inner` dims by itself as Eigen's vectorised sum does, then
      the runs one after the other. A run is one of [..., K..., inner...] in row-major order, and
      where it starts modulo 4 elements decides which of its elements form packets of four.
    """
    x, table = present(operands[0]), operands[1]
    count, kind = attributes["count"], attributes["kind"]
    values = np.ascontiguousarray(to_float(x, attributes))
    kept = x.shape[: x.ndim - count]
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == MAX:
            store(values.reshape(*kept, -1).max(axis=-1), attributes, table, out)
            return
        if kind == L2:
            values = values * values
        rows = values.reshape(prod(kept), -1)
        if attributes["order"] == IN_PACKETS:
            run = prod(x.shape[x.ndim - attributes["inner"] :])
            rows = _packets(rows.reshape(len(rows), -1, run))
        total = _fours(rows) if attributes["order"] == IN_FOURS else _sequence(rows)
        if kind == MEAN:
            total = total / np.float32(prod(x.shape[x.ndim - count :]))
        elif kind == L2:
            total = np.sqrt(total)
    store(total.reshape(kept), attributes, table, out)


def _sequence(rows: Floats) -> Floats:
    total = rows[:, 0]
    for i in range(1, rows.shape[1]):
        total = total + rows[:, i]
    return total


def _fours(rows: Floats) -> Floats:
    total = np.zeros(len(rows), np.float32)
    length = rows.shape[1]
    fours = length // 4 * 4
    pairs = fours + (length - fours) // 2 * 2
    for i in range(0, fours, 4):
        total = rows[:, i] + rows[:, i + 1] + rows[:, i + 2] + rows[:, i + 3] + total
    if pairs > fours:
        total = rows[:, fours] + rows[:, fours + 1] + total
    if length > pairs:
        total = rows[:, pairs] + total
    return total


def _packets(rows: Floats) -> Floats:
    """The sums of rows[K, runs, length] over the last dim."""
    kept, runs, length = rows.shape
    total = np.empty((kept, runs), np.float32)
    first = (np.arange(runs) * kept + np.arange(kept)[:, None]) * length
    for start in range(4):
        chosen = -first % 4 == start
        total[chosen] = _packets_from(rows[chosen], min(start, length))
    return total


def _packets_from(rows: Floats, start: int) -> Floats:
    """As _packets of rows[:, length], whose packets begin at element `start`."""
    count = (rows.shape[1] - start) // 4
    if count == 0:
        return _sequence(rows)
    packets = rows[:, start : start + 4 * count].reshape(len(rows), count, 4)
    even = packets[:, 0]
    if count > 1:
        odd = packets[:, 1]
        for i in range(2, count - 1, 2):
            even = even + packets[:, i]
            odd = odd + packets[:, i + 1]
        even = even + odd
        if count % 2:
            even = even + packets[:, -1]
    total = (even[:, 0] + even[:, 2]) + (even[:, 1] + even[:, 3])
    for i in [*range(start), *range(start + 4 * count, rows.shape[1])]:
        total = total + rows[:, i]
    return total


@dataclass(frozen=True)
class ReductionOrder:
    """How ONNX Runtime walks a tensor, as REDUCE has to be told."""

    kept: tuple[int, ...]
    """The axes of y, in the order in which they have to stand in x and y."""
    reduced: tuple[int, ...]
    """The axes that have to follow them in x."""
    order: int
    inner: int
    """The number of axes that a run of IN_PACKETS spans; 0 for the other orders."""


def reduction_order(
    dims: Sequence[int],
    axes: Sequence[int],
    kind: int,
    channels_last: bool = False,
    threads: int = 1,
) -> ReductionOrder:
    """The order in which ONNX Runtime's CPU kernels reduce `axes` (not negative) of a tensor.

    `channels_last` tells that it has moved the channels of an image [N, C, ...] to the end first,
    as it does between convolutions. `threads` is its number of intra-op threads, by which it
    chooses where the axes that are left lie around or between the reduced ones.
    """
    memory = list(range(len(dims)))
    if channels_last:
        memory.append(memory.pop(1))
    kept = tuple(axis for axis in memory if axis not in axes)
    reduced = tuple(axis for axis in memory if axis in axes)
    groups: list[list[int]] = []  # neighbours in memory that share their fate
    for axis in memory:
        if groups and (axis in axes) == (groups[-1][0] in axes):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    sizes = [prod(dims[axis] for axis in group) for group in groups]
    pattern = "".join("R" if group[0] in axes else "K" for group in groups)
    packets = ReductionOrder(kept, reduced, IN_PACKETS, len(groups[-1]))
    sequence = ReductionOrder(kept, reduced, IN_SEQUENCE, 0)
    if pattern == "R":
        return packets
    if kind == L2:
        return sequence
    if pattern == "KR" or (pattern == "RKR" and sizes[1] >= max(2, threads)):
        return packets
    if pattern == "KRK" and sizes[0] >= max(2, threads):
        return ReductionOrder(kept, reduced, IN_FOURS, 0)
    return sequence

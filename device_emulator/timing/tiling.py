"""How the slices of a device share the work of a command, and how long it takes them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing.parameters import Parameters
from furiosa_ep.device_emulator.timing.work import Work

Floats = npt.NDArray[np.float64]


def compute_cycles(
    works: Sequence[Work], shares: Sequence[float], target: Target, parameters: Parameters
) -> npt.NDArray[np.int64]:
    """The cycles that each command keeps the processing element busy.

    Rows of the result are split over the slices, then columns, in the way that takes least.

    Args:
        works: of the commands.
        shares: the part of the slices that each may use.
        target: the device.
        parameters: of the model.
    """
    if not works:
        return np.zeros(0, np.int64)
    all_slices = target.slices * target.pes
    least = 1 / parameters.concat_share
    slices = np.floor(all_slices * np.maximum(least, np.array(shares, np.float64)))
    slices = np.maximum(1, slices)
    ways = np.array(_ways(all_slices))[:, None]
    columns_apart = np.minimum(ways, slices)
    shapes = np.array([work.shape for work in works], np.float64).T
    rows = np.ceil(shapes[0] / np.floor(slices / columns_apart))
    columns = np.ceil(shapes[2] / columns_apart)
    busy = _slice_cycles(works, rows, shapes[1], columns, target, parameters).min(axis=0)
    busy *= 1 + parameters.exchange * (target.pes - 1) / target.pes
    commands = np.array([work.loops.commands for work in works])
    found: npt.NDArray[np.int64] = np.rint(commands * parameters.command_cycles + busy).astype(
        np.int64
    )
    return found


def _slice_cycles(
    works: Sequence[Work],
    rows: Floats,
    width: Floats,
    columns: Floats,
    target: Target,
    parameters: Parameters,
) -> Floats:
    """The cycles of one slice, for so many rows and columns of each command."""
    loops = np.array([work.loops[:5] for work in works], np.float64).T
    lines, taps, group, multiplies, passes = loops
    filters = max(1, target.macs_per_cycle // (target.slices * parameters.line))
    groups = np.ceil(columns / group)
    whole = groups * np.ceil(np.minimum(columns, group) / filters)
    steps = np.where(group < filters, np.ceil(columns / filters), whole)
    fetch = parameters.line / parameters.fetch_bytes_per_cycle
    step = np.where(multiplies, parameters.multiply_cycles, 1)
    at_once = rows * np.ceil(width / parameters.line)
    moved = rows * width * columns * passes / parameters.slice_bytes_per_cycle
    found: Floats = at_once * (lines * groups * fetch + taps * steps * step) + moved
    return found


def _ways(slices: int) -> list[int]:
    """Numbers of parts that columns may be split into: a few for each power of two."""
    powers = [1 << n for n in range(slices.bit_length())]
    return sorted({one * factor // 4 for one in powers for factor in (4, 5, 6, 7)})

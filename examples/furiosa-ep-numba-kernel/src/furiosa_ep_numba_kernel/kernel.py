"""The kernel of PeakNormalize, whose native function numba compiles."""

from typing import Any

import numpy as np
from furiosa_ep.plugin import Kernel
from furiosa_ep.plugin_numba import (
    dims,
    elements,
    fail,
    kernel_input,
    kernel_output,
    numba_kernel,
    real_attribute,
)

from furiosa_ep_numba_kernel.peak_normalize import cases, reference


@numba_kernel
def peak_normalize(frame: Any) -> Any:
    """Gives the bits of peak_normalize.py, whose operations are all in float32, too."""
    x, y = kernel_input(frame, 0), kernel_output(frame)
    codes, results = elements(x, np.uint8), elements(y, np.uint8)
    if x.rank == 0 or len(codes) != len(results):
        return fail(frame, "expected x and y of one size, with at least one dim")
    size = dims(x)[x.rank - 1]
    peak = np.float32(real_attribute(frame, 0))
    low, high = np.float32(-y.zero_point), np.float32(255 - y.zero_point)
    for start in range(0, len(codes), size):
        row = codes[start : start + size]
        largest = 0
        for code in row:
            largest = max(largest, abs(np.int32(code) - x.zero_point))
        divisor = np.float32(largest) * x.scale
        for i in range(size):
            value = np.float32(np.int32(row[i]) - x.zero_point) * x.scale
            ratio = value / divisor if divisor > 0 else np.float32(0)
            scaled = ratio * peak / y.scale
            limited = min(scaled, high) if scaled > low else low
            results[start + i] = np.int32(np.rint(limited)) + y.zero_point
    return 0


KERNEL = Kernel(
    "NUMBA_KERNEL_PEAK_NORMALIZE",
    "x:u8 -> y:u8",
    reference,
    attributes="peak:f",
    native=(peak_normalize,),
    cases=cases,
)

"""The kernels of kernels.c, compiled, with their references."""

import dataclasses
import gc
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from furiosa_ep.device_emulator import register_kernel, unregister_kernel
from furiosa_ep.kernels.kernel import Kernel, KernelFrame, NativeKernel

PLUGIN = "tester"
INCLUDE = Path(__file__).resolve().parents[2] / "furiosa_ep/include"
STRICT_C = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off"]


def compile_c(source: Path, target: Path, *flags: str) -> Path:
    """Compile `source` to `target`, strictly; skips where there is no compiler."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    files = [f"-I{INCLUDE}", str(source), "-o", str(target), "-lm"]
    subprocess.run(["cc", *STRICT_C, *flags, *files], check=True)
    return target


def compiled_kernels(folder: Path) -> Path:
    """The shared library of kernels.c, made in `folder`."""
    source = Path(__file__).with_name("kernels.c")
    return compile_c(source, folder / "kernels.so", "-O2", "-shared", "-fPIC")


def weigh(frame: KernelFrame) -> None:
    x, gamma = frame.inputs
    assert x is not None
    y = frame.output
    value = (x.array.astype(np.int32) - x.zero_point).astype(np.float32) * x.scale
    if gamma is not None:
        value *= gamma.array
    value = (value + np.float32(frame.attributes["bias"])) + np.float32(frame.attributes["epsilon"])
    code = np.rint(value / y.scale) + np.float32(y.zero_point)
    y.array[...] = np.clip(np.nan_to_num(code, nan=0), 0, 255).astype(np.uint8)


def sum_rows(frame: KernelFrame) -> None:
    (x,) = frame.inputs
    assert x is not None
    sums = x.array.sum(axis=1, dtype=np.int32)
    frame.output.array[...] = [*sums, sums.sum()]


def _copy(frame: KernelFrame) -> None:
    (x,) = frame.inputs
    assert x is not None
    frame.output.array[...] = x.array


def _workspace(shapes: Any) -> int:
    return 4 * int(shapes[0][0])


WEIGH = Kernel("TEST_WEIGH", "x:u8 gamma:f32? -> y:u8", weigh, "bias epsilon:f", strided=True)
SUM_ROWS = Kernel("TEST_SUM_ROWS", "x:u8 -> y:i32", sum_rows, workspace=_workspace)
FAIL = Kernel("TEST_FAIL", "x:u8 -> y:u8", _copy, "code")
MEET = Kernel("TEST_MEET", "x:u8 -> y:u8", _copy)


@contextmanager
def registered(kernel: Kernel, plugin: str = PLUGIN) -> Iterator[Kernel]:
    """Registers a kernel for as long as the context lasts, in which its Programs have to end."""
    register_kernel(kernel, plugin)
    try:
        yield kernel
    finally:
        gc.collect()  # Programs in the traceback of an error that was expected
        unregister_kernel(kernel.opcode)


def natively(kernel: Kernel, library: Path) -> Kernel:
    """The kernel with its function in kernels.c."""
    symbol = kernel.opcode.removeprefix("TEST_").lower()
    return dataclasses.replace(kernel, native=(NativeKernel(library, symbol),))

"""Kernels that numba compiles, called through the call frame."""

from typing import Any

import numpy as np
import pytest

from furiosa_ep.device_emulator import KernelError, call_kernel
from furiosa_ep.device_emulator.kernel_records import FrameRecord, TensorRecord
from furiosa_ep.kernels.kernel import Kernel, KernelFrame, KernelTensor, NativeKernel

pytest.importorskip("numba")
from furiosa_ep import plugin_numba as numba


@numba.numba_kernel
def scale_rows(frame: Any) -> int | None:
    x, gamma = numba.kernel_input(frame, 0), numba.kernel_input(frame, 1)
    y = numba.kernel_output(frame)
    rows, columns = numba.dims(x)
    if numba.dims(y)[0] != rows:
        return numba.fail(frame, "x and y are of different shapes")  # type: ignore[no-any-return]
    codes = numba.elements(x, np.uint8).reshape((rows, columns))
    result = numba.elements(y, np.float32).reshape((rows, columns))
    sums = numba.workspace(frame).view(np.int64)
    for row in range(rows):
        sums[row] = numba.integer_attribute(frame, 0)
        for code in codes[row]:
            sums[row] += np.int64(code) - x.zero_point
        factor = np.float32(numba.real_attribute(frame, 1)) * x.scale
        if gamma.dtype != 0:
            factor *= numba.elements(gamma, np.float32)[row]
        for column in range(columns):
            result[row, column] = np.float32(sums[row]) * factor
    return 0


@numba.numba_kernel
def divide_or_raise(frame: Any) -> None:
    divisor = numba.integer_attribute(frame, 0)
    if divisor == 13:
        raise ValueError
    result = numba.elements(numba.kernel_output(frame), np.float32)
    result[0] = 1 / divisor


def _nothing(frame: KernelFrame) -> None:
    raise NotImplementedError


KERNEL = Kernel(
    "TEST_SCALE_ROWS",
    "x:u8 gamma:f32? -> y:f32",
    _nothing,
    "start factor:f",
    native=(scale_rows,),
    workspace=lambda shapes: 8 * (shapes[0] or (0,))[0],
)
DIVIDE = Kernel("TEST_DIVIDE", "-> y:f32", _nothing, "divisor", native=(divide_or_raise,))


def call(
    kernel: Kernel, inputs: tuple[KernelTensor | None, ...], shape: tuple[int, ...], **values: float
) -> Any:
    output = KernelTensor(np.full(shape, np.nan, np.float32))
    call_kernel(kernel, kernel.native[0], KernelFrame(inputs, output, values))
    return output.array


def test_the_layout_is_that_of_the_header() -> None:
    for dtype, record in ((numba.TENSOR, TensorRecord), (numba.FRAME, FrameRecord)):
        assert list(dtype.names or ()) == [field[0] for field in record._fields_]
        for name in dtype.names or ():
            field = getattr(record, name)
            assert dtype.fields is not None
            assert (dtype.fields[name][1], dtype.fields[name][0].itemsize) == (
                field.offset,
                field.size,
            ), name


@pytest.mark.parametrize("with_gamma", [True, False])
def test_a_kernel_reads_all_of_its_frame(with_gamma: bool) -> None:
    random = np.random.default_rng(0)
    x = KernelTensor(random.integers(256, size=(5, 7), dtype=np.uint8), np.float32(0.3), 100)
    gamma = KernelTensor(random.normal(size=5).astype(np.float32)) if with_gamma else None
    found = call(KERNEL, (x, gamma), (5, 7), start=-3, factor=1.5)
    sums = (x.array.astype(np.int64) - 100).sum(axis=1) - 3
    factor = np.float32(1.5) * np.float32(0.3) * (1 if gamma is None else gamma.array)
    expected = (sums.astype(np.float32) * factor)[:, np.newaxis]
    np.testing.assert_array_equal(found, np.broadcast_to(expected, (5, 7)))


def test_a_kernel_that_fails_says_why() -> None:
    x = KernelTensor(np.zeros((5, 7), np.uint8))
    with pytest.raises(KernelError, match="x and y are of different shapes"):
        call(KERNEL, (x, None), (4, 7), start=0, factor=1.0)


def test_an_exception_is_a_failure() -> None:
    assert call(DIVIDE, (), (1,), divisor=4) == 0.25
    with pytest.raises(KernelError, match="it raised an exception"):
        call(DIVIDE, (), (1,), divisor=13)


def test_a_division_by_zero_is_none() -> None:
    assert call(DIVIDE, (), (1,), divisor=0) == np.inf


def test_a_function_from_no_file_is_compiled_too() -> None:
    scope: dict[str, Any] = {}
    exec("def nothing(frame): pass", scope)
    assert isinstance(numba.numba_kernel(scope["nothing"]), NativeKernel)

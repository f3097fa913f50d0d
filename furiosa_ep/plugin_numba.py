"""Kernels of plugins that numba compiles; needs numba.

    from furiosa_ep.plugin_numba import dims, elements, fail, kernel_input, kernel_output
    from furiosa_ep.plugin_numba import numba_kernel

    @numba_kernel
    def invert(frame):
        x, y = kernel_input(frame, 0), kernel_output(frame)
        source, target = elements(x, np.uint8), elements(y, np.uint8)
        if len(source) != len(target):
            return fail(frame, "x and y are of different sizes")
        for i in range(len(source)):
            target[i] = 255 - source[i]

A frame has the fields of furiosa_kernel_frame in furiosa_ep.h, a tensor those of furiosa_tensor,
with pointers as numbers. Kernels may be called by several threads at once, so they must not use
numba's own threads (`parallel=True`).
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from furiosa_ep.kernels.kernel import NativeKernel

TENSOR = np.dtype(
    [
        ("data", np.uintp),
        ("dims", np.uintp),
        ("strides", np.uintp),
        ("rank", np.uint32),
        ("dtype", np.uint32),
        ("scale", np.float32),
        ("zero_point", np.int32),
    ],
    align=True,
)
"""furiosa_tensor; all fields of an operand that is absent are 0, but for the scale."""
FRAME = np.dtype(
    [
        ("version", np.uint32),
        ("size", np.uint32),
        ("inputs", np.uintp),
        ("input_count", np.uintp),
        ("outputs", np.uintp),
        ("output_count", np.uintp),
        ("attributes", np.uintp),
        ("attribute_count", np.uintp),
        ("workspace", np.uintp),
        ("workspace_size", np.uintp),
        ("error", np.uintp),
        ("error_size", np.uintp),
        ("parallel_for", np.uintp),
        ("executor", np.uintp),
        ("concurrency", np.uintp),
    ],
    align=True,
)
"""furiosa_kernel_frame."""
SIGNATURE = types.int32(types.CPointer(numba.from_dtype(FRAME)))
"""furiosa_kernel_function."""

Function = Callable[[Any], int | None]


def numba_kernel(function: Function) -> NativeKernel:
    """Compile a function of a frame to a native kernel, or load what was compiled before.

    The function returns nothing or 0, and `fail(frame, text)` where it fails. A division by zero
    gives what it gives in NumPy; an exception makes the call fail.
    """
    kernel = _jit(function)

    def run(pointer: Any) -> Any:
        frame = carray(pointer, 1)[0]
        try:
            status = kernel(frame)
        except Exception:  # which numba would print, under the GIL, and go on with 0
            return fail(frame, "it raised an exception")
        return 0 if status is None else status

    run.__name__ = function.__name__
    compiled = numba.cfunc(SIGNATURE, error_model="numpy")(run)
    return NativeKernel(address=compiled.address, keep=compiled)


def _jit(function: Callable[..., Any]) -> Any:
    """The function as numba compiles it; what is compiled is kept in files where it can be."""
    try:
        return numba.njit(function, cache=True, error_model="numpy")
    except RuntimeError:  # no folder to keep it in
        return numba.njit(function, error_model="numpy")


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(context: Any, address: Any, dtype: Any) -> Any:
    """The number `address` as a pointer to elements of a NumPy dtype."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(dtype.dtype)(types.uintp, dtype), generate


@_jit
def kernel_input(frame: Any, index: int) -> Any:
    """A tensor: an operand."""
    return carray(_pointer(frame.inputs, TENSOR), frame.input_count)[index]


@_jit
def kernel_output(frame: Any) -> Any:
    """A tensor: the result."""
    return carray(_pointer(frame.outputs, TENSOR), frame.output_count)[0]


@_jit
def dims(tensor: Any) -> Any:
    """The shape of a tensor: an array with one element per axis."""
    return carray(_pointer(tensor.dims, np.int64), tensor.rank)


@_jit
def strides(tensor: Any) -> Any:
    """The strides of a tensor in elements, for kernels that are `strided`."""
    return carray(_pointer(tensor.strides, np.int64), tensor.rank)


@_jit
def elements(tensor: Any, dtype: Any) -> Any:
    """The elements of a row-major tensor, as an array of one axis; `reshape` gives it more.

    `dtype` is a NumPy scalar type like np.uint8, and the tensor's.
    """
    count = 1
    for dim in dims(tensor):
        count *= dim
    return carray(_pointer(tensor.data, dtype), count)


@_jit
def integer_attribute(frame: Any, index: int) -> Any:
    """An attribute that was declared as an integer, by its position."""
    return carray(_pointer(frame.attributes, np.int64), frame.attribute_count)[index]


@_jit
def real_attribute(frame: Any, index: int) -> Any:
    """An attribute that was declared as real, by its position."""
    return carray(_pointer(frame.attributes, np.float64), frame.attribute_count)[index]


@_jit
def workspace(frame: Any) -> Any:
    """The working memory, as an array of np.uint8; `view(np.int32)` makes it one of int32."""
    return carray(_pointer(frame.workspace, np.uint8), frame.workspace_size)


@_jit
def fail(frame: Any, text: str) -> Any:
    """Make the kernel fail, and say why in ASCII; what it returns is the kernel's status."""
    error = carray(_pointer(frame.error, np.uint8), frame.error_size)
    count = min(len(text), error.size - 1)
    for i in range(count):
        error[i] = ord(text[i])
    if error.size > 0:
        error[count] = 0
    return 1

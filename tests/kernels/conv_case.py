"""One convolution with its operands, as attributes of the reference and as a Program."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from furiosa_ep.device_emulator import Executable, load_library
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.program import DType, Program
from tests.device_emulator.cases import Case, Layout, contiguous

Array = npt.NDArray[Any]
CANARY = 0xA5
_WINDOW = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "group": 1}
_ADDITION = {"residual_scale": 0.0, "conv_scale": 0.0, "residual_offset": 0.0}


@dataclass
class ConvCase:
    """Operands and attributes of one CONV."""

    x: Array
    w: Array
    bias: Array
    multiplier: Array
    out_h: int
    out_w: int
    window: Mapping[str, int] = field(default_factory=dict)
    """Strides, dilations, pad_top, pad_left and group, where they are not 1 or 0."""
    x_zero_point: int = 128
    y_zero_point: int = 128
    table: Array | None = None
    residual: Array | None = None
    residual_table: Array | None = None
    addition: Mapping[str, float] = field(default_factory=dict)
    """Scales, order and sign of the residual add."""
    to_float: bool = False

    @property
    def dims(self) -> tuple[int, int, int, int]:
        """Dims of the result."""
        return self.x.shape[0], self.out_h, self.out_w, self.w.shape[0]

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the CONV."""
        return {
            **_WINDOW,
            **_ADDITION,
            **dict.fromkeys(("pad_top", "pad_left", "residual_first", "signed"), 0),
            "x_zero_point": self.x_zero_point,
            "y_zero_point": self.y_zero_point,
            **self.window,
            **self.addition,
        }

    def expected(self) -> Array:
        """The result according to the reference."""
        out = np.zeros(self.dims, np.float32 if self.to_float else np.uint8)
        constants = [self.w, self.bias, self.multiplier, self.table]
        operands = [self.x, *constants, self.residual, self.residual_table]
        REFERENCE["CONV"](operands, self.attributes, out)
        return out

    def program(
        self, x: Layout | None = None, y: Layout | None = None, residual: Layout | None = None
    ) -> tuple[Program, list[Array]]:
        """The CONV as a Program on views of these layouts, and the inputs of the Program."""
        case = Case("CONV", self.attributes)
        case.input(self.x, x or contiguous(self.x.shape))
        for constant in (self.w, self.bias, self.multiplier, self.table):
            case.constant(constant)
        if self.residual is None:
            case.constant(None)
        else:
            case.input(self.residual, residual or contiguous(self.dims))
        case.constant(self.residual_table)
        dtype = DType.F32 if self.to_float else DType.U8
        program = case.program(self.dims, y or contiguous(self.dims), dtype)
        return program, case.inputs


@st.composite
def images(draw: st.DrawFn, dims: tuple[int, ...], broadcast: bool = False) -> Layout:
    """Views of [N, H, W, C] whose channels are adjacent; images overlap where `broadcast`."""
    if draw(st.booleans()):
        return contiguous(dims)
    gaps = st.sampled_from([0, 0, 1, 2, 5, 64])
    strides, low = [0, 0, 0, 1], 0
    reach = dims[3]
    for axis in draw(st.permutations(range(3))) if draw(st.booleans()) else (2, 1, 0):
        if broadcast and draw(st.integers(0, 9)) == 0:
            continue
        strides[axis] = reach + draw(gaps)
        reach = dims[axis] * strides[axis]
        if draw(st.integers(0, 5)) == 0:
            low += strides[axis] * (dims[axis] - 1)
            strides[axis] = -strides[axis]
    low += draw(st.integers(0, 3))
    last = sum((dim - 1) * max(0, stride) for dim, stride in zip(dims, strides, strict=True))
    return Layout(tuple(strides), low, low + last + 1)


def run_into(executable: Executable, inputs: list[Array], outputs: list[Array]) -> None:
    """Runs into buffers of the caller, so that what is not written keeps its value."""
    library = load_library()

    def pointers(arrays: list[Array]) -> Any:
        return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))

    status = library.furiosa_program_run(
        executable._handle, pointers(inputs), len(inputs), pointers(outputs), len(outputs)
    )
    assert status == 0


def assert_same(actual: Array, expected: Array, what: object = "") -> None:
    """Fails with the first differing index and both values."""
    if actual.tobytes() == expected.tobytes():
        return
    bits = actual.view(f"u{actual.itemsize}") != expected.view(f"u{expected.itemsize}")
    first = tuple(int(i) for i in np.argwhere(bits)[0])
    raise AssertionError(
        f"{what}: {int(bits.sum())} of {bits.size} differ, first at {first}: "
        f"{actual[first]}, expected {expected[first]}"
    )

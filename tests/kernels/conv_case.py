"""One convolution as a Program, on views with gaps, for native and reference runs."""

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator import Executable, checksum, load_library
from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.program import Binding, Command, DType, Program, Storage, Tensor

Array = npt.NDArray[Any]
CANARY = 0xA5


@dataclass
class Layout:
    """Where the pixels of a view are: gaps (in elements) after each pixel, row and image."""

    offset: int = 0
    pixel_gap: int = 0
    row_gap: int = 0
    image_gap: int = 0

    def strides(self, dims: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Element strides of N, H, W, C."""
        pixel = dims[3] + self.pixel_gap
        row = dims[2] * pixel + self.row_gap
        return dims[1] * row + self.image_gap, row, pixel, 1

    def size(self, dims: tuple[int, int, int, int]) -> int:
        """Elements from the start of the buffer to the end of the view's last pixel."""
        last = sum((d - 1) * s for d, s in zip(dims, self.strides(dims), strict=True))
        return self.offset + last + 1

    def view(self, buffer: Array, dims: tuple[int, int, int, int]) -> Array:
        """The view of a buffer."""
        strides = [stride * buffer.itemsize for stride in self.strides(dims)]
        return np.ndarray(dims, buffer.dtype, buffer.data, self.offset * buffer.itemsize, strides)


@dataclass
class ConvCase:
    """Operands, attributes and layouts of one CONV."""

    x: Array
    w: Array
    bias: Array
    multiplier: Array
    out_h: int
    out_w: int
    window: dict[str, int] = field(default_factory=dict)
    x_zero_point: int = 128
    y_zero_point: int = 128
    table: Array | None = None
    residual: Array | None = None
    residual_table: Array | None = None
    addition: dict[str, float] = field(default_factory=dict)
    to_float: bool = False
    x_layout: Layout = field(default_factory=Layout)
    y_layout: Layout = field(default_factory=Layout)
    residual_layout: Layout = field(default_factory=Layout)

    @property
    def dims(self) -> tuple[int, int, int, int]:
        """Dims of the result."""
        return self.x.shape[0], self.out_h, self.out_w, self.w.shape[0]

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the CONV."""
        window = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w", "group"), 1)
        addition = dict.fromkeys(("residual_scale", "conv_scale", "residual_offset"), 0.0)
        return {
            **window,
            **dict.fromkeys(("pad_top", "pad_left", "residual_first", "signed"), 0),
            **addition,
            "x_zero_point": self.x_zero_point,
            "y_zero_point": self.y_zero_point,
            **self.window,
            **self.addition,
        }

    def expected(self) -> Array:
        """The result according to the reference."""
        out = np.zeros(self.dims, np.float32 if self.to_float else np.uint8)
        operands = [self.x, self.w, self.bias, self.multiplier]
        operands += [self.table, self.residual, self.residual_table]
        REFERENCE["CONV"](operands, self.attributes, out)
        return out

    def program(self) -> bytes:
        """The CONV as a Program of one command."""
        tensors: list[Tensor] = []
        constants = bytearray()

        def constant(array: Array | None) -> int | None:
            if array is None:
                return None
            constants.extend(bytes(-len(constants) % 64))
            dtype = {"b": DType.I8, "B": DType.U8, "h": DType.I16, "i": DType.I32, "f": DType.F32}
            strides = tuple(stride // array.itemsize for stride in array.strides)
            tensors.append(
                Tensor(
                    dtype[array.dtype.char], Storage.CONSTANT, array.shape, strides, len(constants)
                )
            )
            constants.extend(array.tobytes())
            return len(tensors) - 1

        def image(
            dims: tuple[int, int, int, int],
            layout: Layout,
            storage: Storage,
            index: int,
            dtype: DType = DType.U8,
        ) -> int:
            size = dtype.numpy.itemsize
            tensors.append(
                Tensor(dtype, storage, dims, layout.strides(dims), layout.offset * size, index)
            )
            return len(tensors) - 1

        result = DType.F32 if self.to_float else DType.U8
        inputs = [Binding("x", DType.U8, (self.x_layout.size(self.x.shape),))]
        residual = None
        x = image(self.x.shape, self.x_layout, Storage.INPUT, 0)
        if self.residual is not None:
            inputs.append(Binding("r", DType.U8, (self.residual_layout.size(self.dims),)))
            residual = image(self.dims, self.residual_layout, Storage.INPUT, 1)
        y = image(self.dims, self.y_layout, Storage.OUTPUT, 0, result)
        weights = [constant(a) for a in (self.w, self.bias, self.multiplier, self.table)]
        operands = (x, *weights, residual, constant(self.residual_table), y)
        return Program(
            tensors=tensors,
            commands=[Command("CONV", operands, self.attributes, "case")],
            inputs=inputs,
            outputs=[Binding("y", result, (self.y_layout.size(self.dims),))],
            constants=bytes(constants),
            arena_size=0,
        ).to_bytes(checksum)

    def run(self, program: bytes | None = None) -> Array:
        """The result of the native executor; fails where it wrote beyond the result's elements."""
        inputs = [fill_view(self.x, self.x_layout)]
        if self.residual is not None:
            inputs.append(fill_view(self.residual, self.residual_layout))
        dtype = np.dtype(np.float32 if self.to_float else np.uint8)
        margin = 64
        size = self.y_layout.size(self.dims) * dtype.itemsize
        guarded = np.full(size + 2 * margin, CANARY, np.uint8)
        buffer = guarded[margin : margin + size].view(dtype)
        run_into(Executable(program or self.program()), inputs, [buffer])
        result = self.y_layout.view(buffer, self.dims).copy()
        self.y_layout.view(buffer, self.dims)[...] = np.full(1, 0, dtype)
        canary = np.full(size, CANARY, np.uint8).view(dtype)
        self.y_layout.view(canary, self.dims)[...] = np.full(1, 0, dtype)
        assert (guarded[:margin] == CANARY).all(), "wrote before the result"
        assert (guarded[margin + size :] == CANARY).all(), "wrote behind the result"
        assert buffer.tobytes() == canary.tobytes(), "wrote between the pixels of the result"
        return result


def fill_view(values: Array, layout: Layout) -> Array:
    """A buffer of random bytes in which the view of `layout` holds `values`."""
    size = layout.size(values.shape)
    buffer = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    layout.view(buffer, values.shape)[...] = values
    return buffer


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

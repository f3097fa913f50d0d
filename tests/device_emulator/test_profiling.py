"""What profiling says of the commands of a Program."""

import numpy as np
import pytest

from furiosa_ep.device_emulator import Executable, checksum, profile_commands
from furiosa_ep.program import Binding, Command, DType, Program, Storage, Tensor

CONV = {
    "stride_h": 1,
    "stride_w": 1,
    "dilation_h": 1,
    "dilation_w": 1,
    "pad_top": 1,
    "pad_left": 1,
    "group": 1,
    "x_zero_point": 0,
    "y_zero_point": 0,
    "residual_first": 0,
    "signed": 0,
    "residual_scale": 0.0,
    "conv_scale": 0.0,
    "residual_offset": 0.0,
}


def small_then_large() -> bytes:
    """A MATMUL of 2x3 by 3x4, a FILL and a 3x3 CONV of 128 by 128 channels."""
    channels, size = 128, 28
    image = (1, size, size, channels)
    strides = (size * size * channels, size * channels, channels, 1)
    weights = channels * 9 * channels
    tensors = [
        Tensor(DType.U8, Storage.INPUT, (2, 3), (3, 1)),
        Tensor(DType.U8, Storage.INPUT, (3, 4), (4, 1), index=1),
        Tensor(DType.U8, Storage.OUTPUT, (2, 4), (4, 1)),
        Tensor(DType.U8, Storage.INPUT, image, strides, index=2),
        Tensor(DType.I8, Storage.CONSTANT, (channels, 3, 3, channels), (9 * 128, 384, 128, 1)),
        Tensor(DType.I32, Storage.CONSTANT, (channels,), (1,), weights),
        Tensor(DType.F32, Storage.CONSTANT, (channels,), (1,), weights + 4 * channels),
        Tensor(DType.U8, Storage.OUTPUT, image, strides, index=1),
    ]
    matmul = {"a_zero_point": 1, "b_zero_point": 2, "y_zero_point": 3, "multiplier": 0.5}
    return Program(
        tensors=tensors,
        commands=[
            Command("MATMUL", (0, 1, None, 2), matmul, "small"),
            Command("FILL", (7,), {"value": 1}, "fill"),
            Command("CONV", (3, 4, 5, 6, None, None, None, 7), CONV, "large"),
        ],
        inputs=[
            Binding("a", DType.U8, (2, 3)),
            Binding("b", DType.U8, (3, 4)),
            Binding("x", DType.U8, image),
        ],
        outputs=[Binding("y", DType.U8, (2, 4)), Binding("z", DType.U8, image)],
        constants=bytes(weights + 8 * channels),
        arena_size=0,
    ).to_bytes(checksum)


def inputs() -> list[np.ndarray]:
    return [np.zeros(dims, np.uint8) for dims in [(2, 3), (3, 4), (1, 28, 28, 128)]]


@pytest.mark.parametrize("threads", [1, 2])
def test_commands_are_described_and_timed(threads: int) -> None:
    small, fill, large = profile_commands(small_then_large(), inputs(), rounds=3, threads=threads)
    assert (small.index, small.opcode, small.name) == (0, "MATMUL", "small")
    assert small.shapes == ((2, 3), (3, 4), None, (2, 4))
    assert small.multiply_accumulates == 2 * 4 * 3
    assert (large.index, large.opcode, large.name) == (2, "CONV", "large")
    assert large.shapes[:2] == ((1, 28, 28, 128), (128, 3, 3, 128))
    assert large.multiply_accumulates == 28 * 28 * 128 * 9 * 128
    assert (fill.shapes, fill.multiply_accumulates) == (((1, 28, 28, 128),), 0)
    assert 0 < small.nanoseconds < large.nanoseconds


def test_a_row_for_each_round() -> None:
    times = Executable(small_then_large()).profile(inputs(), rounds=4)
    assert times.shape == (4, 3)
    assert (times > 0).all()


def test_wrong_arguments_are_refused() -> None:
    executable = Executable(small_then_large())
    with pytest.raises(ValueError, match="2 inputs: expected 3"):
        executable.profile(inputs()[:2])
    with pytest.raises(RuntimeError, match="threads is not from 1 to 1024"):
        executable.profile(inputs(), threads=0)

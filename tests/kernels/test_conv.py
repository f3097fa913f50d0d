"""CONV: native against reference on every instruction set, and against ONNX Runtime."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.device_emulator import load_library
from furiosa_ep.program import ProgramError
from tests.device_emulator.cases import Layout, available_isas, check, run_native
from tests.kernels.conv_case import Array, ConvCase, assert_same, images

SEEDS = st.integers(0, 2**32 - 1)


def random_case(
    rng: np.random.Generator,
    batch: int,
    size: tuple[int, int],
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    group: int = 1,
) -> ConvCase:
    """A convolution with random operands, whose results mostly do not saturate.

    `channels` are those of x and y, `pads` top, left, bottom and right.
    """
    depth = channels[0] // group
    out = [
        (size[i] + pads[i] + pads[i + 2] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    deviation = 74 * 74 * np.sqrt(kernel[0] * kernel[1] * depth)
    return ConvCase(
        x=rng.integers(0, 256, (batch, *size, channels[0])).astype(np.uint8),
        w=rng.integers(-128, 128, (channels[1], *kernel, depth)).astype(np.int8),
        bias=rng.integers(-5000, 5000, channels[1]).astype(np.int32),
        multiplier=(rng.uniform(10, 60, channels[1]) / deviation).astype(np.float32),
        out_h=out[0],
        out_w=out[1],
        window={
            "stride_h": stride[0],
            "stride_w": stride[1],
            "dilation_h": dilation[0],
            "dilation_w": dilation[1],
            "pad_top": pads[0],
            "pad_left": pads[1],
            "group": group,
        },
        x_zero_point=int(rng.choice([0, 128, 255, int(rng.integers(256))])),
        y_zero_point=int(rng.choice([0, 128, 255, int(rng.integers(256))])),
    )


def random_table(rng: np.random.Generator, channels: int) -> Array | None:
    """No table, one table, or one per channel."""
    dims: tuple[int, ...] | None = [None, (256,), (channels, 256)][rng.integers(3)]
    return None if dims is None else rng.integers(0, 256, dims).astype(np.uint8)


def finish_randomly(case: ConvCase, rng: np.random.Generator) -> ConvCase:
    """The case with a random epilogue."""
    if rng.integers(5) == 0:
        case.to_float = True
        return case
    case.table = random_table(rng, case.dims[3])
    if rng.integers(2):
        case.residual = rng.integers(0, 256, case.dims).astype(np.uint8)
        case.residual_table = random_table(rng, case.dims[3])
        case.addition = {
            "residual_first": int(rng.integers(2)),
            "signed": int(rng.integers(2)),
            "residual_scale": float(np.float32(rng.uniform(0.2, 1.2))),
            "conv_scale": float(np.float32(rng.choice([0.5, rng.uniform(0.2, 1.2)]))),
            "residual_offset": float(np.float32(rng.choice([-64.5, rng.uniform(-100, 100)]))),
        }
    return case


@st.composite
def cases(draw: st.DrawFn) -> ConvCase:
    """Convolutions of every kind, small."""
    rng = np.random.default_rng(draw(SEEDS))
    kind = draw(st.sampled_from(["dense", "dense", "grouped", "depthwise", "first", "pointwise"]))
    most = {"pointwise": (1, 1), "depthwise": (9, 7)}.get(kind, (4, 5))
    kernel = draw(st.tuples(st.integers(1, most[0]), st.integers(1, most[1])))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3), (2, 2)]))
    pads = draw(st.tuples(*[st.sampled_from([0, 0, 1, 1, 2, 5])] * 4))
    extent = [dilation[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2] for i in range(2)]
    size = tuple(max(1, extent[i]) + draw(st.integers(0, 12)) for i in range(2))
    group, channels = 1, (draw(st.integers(1, 40)), draw(st.integers(1, 140)))
    if kind == "first":
        channels = (draw(st.integers(1, 5)), channels[1])
    elif kind == "depthwise":
        group = draw(st.integers(1, 150))
        channels = (group, group * draw(st.sampled_from([1, 1, 1, 2, 3])))
    elif kind == "grouped":
        group = draw(st.integers(2, 5))
        channels = (group * draw(st.integers(1, 9)), group * draw(st.integers(1, 40)))
    case = random_case(
        rng,
        batch=draw(st.sampled_from([1, 1, 2, 3])),
        size=(size[0], size[1]),
        channels=channels,
        kernel=kernel,
        stride=draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 1), (1, 2)])),
        dilation=dilation,
        pads=pads,
        group=group,
    )
    if draw(st.integers(0, 7)) == 0:  # uint8 weights less their zero point
        case.w = rng.integers(-255, 256, case.w.shape).astype(np.int16)
    return finish_randomly(case, rng)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_native_equals_reference_on_any_views(data: st.DataObject) -> None:
    case = data.draw(cases())
    x, y = data.draw(images(case.x.shape, broadcast=True)), data.draw(images(case.dims))
    check(*case.program(x, y, data.draw(images(case.dims))))


@pytest.mark.parametrize("rows", [*range(1, 16), *range(23, 30), 41, 49, 225])
@pytest.mark.parametrize("depth", [5, 8])
def test_every_height_of_a_tile(rows: int, depth: int) -> None:
    rng = np.random.default_rng(rows)
    for columns in (15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 129):
        case = random_case(rng, 1, (1, rows), (depth, columns), (1, 1))
        check(*finish_randomly(case, rng).program())


@pytest.mark.parametrize("depth", [4, 8, 12, 16, 20, 24, 28, 68, 640, 700])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("columns", [16, 17, 24, 32, 48, 64])
def test_every_epilogue_of_rows_that_take_turns(depth: int, kernel: int, columns: int) -> None:
    rng = np.random.default_rng(depth + columns)
    for table in (None, rng.integers(0, 256, 256).astype(np.uint8)):
        for add in (False, True):
            case = random_case(rng, 1, (1, 60), (depth, columns), (1, kernel), pads=(0, 1, 0, 1))
            case.table = table
            if add:
                case.residual = rng.integers(0, 256, case.dims).astype(np.uint8)
                case.addition = {"residual_scale": 0.6, "conv_scale": 0.7, "residual_offset": -20.5}
            check(*case.program())


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 511, 513, 1026])
@pytest.mark.parametrize("kernel", [1, 2])
def test_every_remainder_of_the_depth(depth: int, kernel: int) -> None:
    case = random_case(np.random.default_rng(depth), 1, (3, 4), (depth, 20), (kernel, kernel))
    check(*case.program())


@pytest.mark.parametrize("channels", [2, 15, 16, 17, 32, 33, 63, 64, 65, 144])
@pytest.mark.parametrize("kernel_h", [1, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("kernel_w", [1, 2, 3, 5, 7])
def test_depthwise(channels: int, kernel_h: int, kernel_w: int) -> None:
    rng = np.random.default_rng(channels)
    for stride in (1, 2, 3):
        case = random_case(
            rng,
            2,
            (9, 10),
            (channels, channels),
            (kernel_h, kernel_w),
            (stride, stride),
            (int(rng.integers(1, 3)), 1),
            pads=(kernel_h - 1, kernel_w // 2, kernel_h, (kernel_w - 1) // 2),
            group=channels,
        )
        check(*finish_randomly(case, rng).program())


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (2, 3), (7, 5)])
@pytest.mark.parametrize("width", [1, 2, 31, 32, 33, 63, 70])
def test_depthwise_rows_of_every_length(kernel: tuple[int, int], width: int) -> None:
    rng = np.random.default_rng(width)
    pads = (kernel[0] // 2, kernel[1] // 2, kernel[0] // 2, kernel[1] // 2)
    for channels, stride, height in [(64, (1, 1), 7), (24, (2, 2), 6), (83, (2, 1), 9)]:
        size = (height, (width - 1) * stride[1] + 1)
        case = random_case(
            rng, 2, size, (channels, channels), kernel, stride, pads=pads, group=channels
        )
        assert case.out_w == width
        check(*finish_randomly(case, rng).program())


@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize("kernel_h", [2, 3, 4])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 30])
def test_depthwise_pixels_that_share_vectors(channels: int, kernel_h: int, width: int) -> None:
    rng = np.random.default_rng(100 * width + channels)
    table = rng.integers(0, 256, 256).astype(np.uint8)
    for left, right in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (3, 0), (4, 5), (6, 6)):
        if width + 2 <= left + right:
            continue
        size = (int(rng.integers(4, 20)), width + 2 - left - right)
        stride, bottom = (int(rng.integers(1, 3)), 1), int(rng.integers(0, 4))
        case = random_case(
            rng,
            2,
            size,
            (channels, channels),
            (kernel_h, 3),
            stride,
            (int(rng.integers(1, 3)), 1),
            pads=(int(rng.integers(0, 4)), left, bottom, right),
            group=channels,
        )
        assert case.out_w == width
        check(*case.program())
        case.table = table
        check(*case.program())


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("columns", [1, 8, 15, 16, 17, 24, 32, 33, 48, 60, 64, 65, 130])
def test_few_input_channels(channels: int, columns: int) -> None:
    rng = np.random.default_rng(1000 * channels + columns)
    for kernel in ((3, 3), (2, 2), (5, 5), (7, 7), (6, 6), (1, 3), (4, 9)):
        stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        width = int(rng.choice([1, 2, 7, 8, 11, 12, 15, 16, 17, 19, 23, 31, 32, 33, 48, 65]))
        dilation_h = int(rng.choice([1, 1, 1, 2]))
        pads = [int(pad) for pad in rng.choice([0, 1, 2, 3, 9], 4)]
        size = [
            max(1, (outputs - 1) * step + reach - before - after)
            for outputs, step, reach, before, after in (
                (int(rng.integers(1, 6)), stride[0], dilation_h * (kernel[0] - 1) + 1, *pads[::2]),
                (width, stride[1], kernel[1], *pads[1::2]),
            )
        ]
        case = random_case(
            rng,
            int(rng.integers(1, 4)),
            (size[0], size[1]),
            (channels, columns),
            kernel,
            stride,
            (dilation_h, 1),
            (pads[0], pads[1], pads[2], pads[3]),
        )
        if rng.integers(3):
            case.table = rng.integers(0, 256, 256).astype(np.uint8)
        check(*case.program())


def test_long_signals_and_wide_kernels() -> None:
    rng = np.random.default_rng(0)
    check(*random_case(rng, 1, (1, 3000), (1, 20), (1, 25), (1, 2), pads=(0, 7, 0, 9)).program())
    check(*random_case(rng, 1, (1, 700), (40, 20), (1, 21), dilation=(1, 2)).program())
    check(*random_case(rng, 1, (40, 40), (2, 3), (30, 30), pads=(4, 4, 4, 4)).program())


def test_a_batch_whose_pixels_share_tiles() -> None:
    rng = np.random.default_rng(1)
    case = random_case(rng, 9, (3, 3), (3, 70), (3, 3), pads=(1, 1, 1, 1))
    check(*case.program())
    check(*random_case(rng, 9, (3, 3), (20, 70), (3, 3), pads=(1, 1, 1, 1)).program())


@pytest.mark.parametrize("multiplier", [0.5, 2.0**-9, 1e30, -1e30, 3e38, np.inf, 0.0, 1e-38])
@pytest.mark.parametrize("depthwise", [False, True])
def test_ties_and_extreme_multipliers(multiplier: float, depthwise: bool) -> None:
    rng = np.random.default_rng(7)
    case = random_case(rng, 1, (5, 5), (8, 40), (1, 1))
    if depthwise:
        case = random_case(rng, 1, (5, 5), (40, 40), (3, 3), group=40)
    case.multiplier = np.full(40, multiplier, np.float32)
    case.bias[:20] = 0
    case.w[:10] = 0  # accumulators of 0, which an infinite multiplier makes NaN
    check(*case.program())


@pytest.mark.parametrize("depthwise", [False, True])
def test_accumulators_wrap_around(depthwise: bool) -> None:
    rng = np.random.default_rng(8)
    case = random_case(rng, 1, (4, 4), (300, 40), (1, 1))
    if depthwise:
        case = random_case(rng, 1, (4, 4), (40, 40), (3, 3), group=40)
    case.bias = rng.choice([2**31 - 1, -(2**31)], 40).astype(np.int32)
    case.multiplier = np.full(40, 2.0**-24, np.float32)
    check(*case.program())


@pytest.mark.parametrize("scale", [1e7, -1e7, 3e38])
def test_sums_with_the_residual_beyond_integers(scale: float) -> None:
    rng = np.random.default_rng(9)
    case = random_case(rng, 1, (5, 5), (16, 64), (1, 1))
    case.residual = rng.integers(0, 256, case.dims).astype(np.uint8)
    case.addition = {"residual_scale": scale, "conv_scale": 0.7, "residual_offset": -20.5}
    check(*case.program())


@pytest.mark.parametrize("columns", [1, 15, 16, 24, 64, 80, 150])
def test_a_table_for_each_channel(columns: int) -> None:
    rng = np.random.default_rng(columns)
    for size in ((1, 5), (9, 13), (31, 11)):
        case = random_case(rng, 2, size, (20, columns), (3, 3), pads=(1, 1, 1, 1))
        case.table = rng.integers(0, 256, (columns, 256)).astype(np.uint8)
        check(*case.program())
        rows = Layout((31 * 13 * 170, 13 * 170, 170, 1), 3, 2 * 31 * 13 * 170 + columns + 3)
        check(*case.program(y=rows))


def test_a_residual_in_place() -> None:
    """The result replaces the residual."""
    rng = np.random.default_rng(9)
    case = random_case(rng, 1, (5, 6), (16, 70), (1, 1))
    case.residual = rng.integers(0, 256, case.dims).astype(np.uint8)
    case.addition = {"residual_scale": 0.5, "conv_scale": 0.7, "residual_offset": 1.5}
    program, inputs = case.program()
    conv = program.commands[-1]
    y, fill = conv.operands[-1], program.commands[0]
    move = type(conv)("COPY", (conv.operands[5], None, y), {})
    in_place = type(conv)("CONV", (*conv.operands[:5], y, None, y), case.attributes)
    program = type(program)(
        program.tensors,
        [fill, move, in_place],
        program.inputs,
        program.outputs,
        program.constants,
        program.arena_size,
    )
    check(program, inputs)


def test_what_does_not_fit_is_refused() -> None:
    case = random_case(np.random.default_rng(0), 1, (5, 5), (8, 12), (3, 3))
    strided = Layout((400, 80, 16, 2), 0, 800)
    for broken, layout, message in [
        ({"group": 5}, None, "weights 12x3x3x8 in 5 groups do not fit 8 channels of x"),
        ({"stride_h": 0}, None, "stride_h=0: expected 1 to"),
        ({"pad_left": -1}, None, "pad_left=-1: expected 0 to"),
        ({}, strided, "operand x has channels 2 elements apart: expected 1"),
    ]:
        case.window = {**case.window, "group": 1, "stride_h": 1, "pad_left": 0, **broken}
        program, _ = case.program(layout)
        with pytest.raises((ProgramError, AssertionError), match=message):
            run_native(program, [])


def ort_conv(case: ConvCase, scales: tuple[Any, Any, Any], pads: list[int]) -> Array:
    """What ONNX Runtime's QLinearConv makes of the case."""
    x_scale, w_scale, y_scale = scales
    wide = case.w.dtype == np.int16
    weights = (case.w + 128).astype(np.uint8) if wide else case.w
    constants = {
        "x_scale": np.float32(x_scale),
        "x_zero_point": np.uint8(case.x_zero_point),
        "w": np.ascontiguousarray(weights.transpose(0, 3, 1, 2)),
        "w_scale": np.asarray(w_scale, np.float32),
        "w_zero_point": np.full(np.shape(w_scale), 128 if wide else 0, weights.dtype),
        "y_scale": np.float32(y_scale),
        "y_zero_point": np.uint8(case.y_zero_point),
        "bias": case.bias,
    }
    window = case.window
    node = helper.make_node(
        "QLinearConv",
        ["x", *constants],
        ["y"],
        strides=[window["stride_h"], window["stride_w"]],
        dilations=[window["dilation_h"], window["dilation_w"]],
        pads=pads,
        group=window["group"],
    )
    x = np.ascontiguousarray(case.x.transpose(0, 3, 1, 2))
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return np.ascontiguousarray(np.asarray(y).transpose(0, 2, 3, 1))


exact_ort = pytest.mark.skipif(
    load_library().furiosa_isa_name() != b"avx512vnni",
    reason="without VNNI, ONNX Runtime's own sums of uint8 by int8 saturate",
)


@exact_ort
@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from(["dense", "grouped", "depthwise", "first"]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.sampled_from([(1, 1), (2, 2), (1, 2)]),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 2)]),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    y_scale=st.sampled_from([1.0, 0.5, 3.7, 100.0, 1e-7]),
    per_channel=st.booleans(),
)
def test_equals_onnxruntime(
    seed: int,
    kind: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
    y_scale: float,
    per_channel: bool,
) -> None:
    rng = np.random.default_rng(seed)
    out = int(rng.integers(1, 80))
    channels, group = {
        "dense": ((int(rng.integers(1, 70)), out), 1),
        "first": ((3, out), 1),
        "depthwise": ((out, out), out),
        "grouped": ((3 * int(rng.integers(1, 9)), 3 * out), 3),
    }[kind]
    size = (int(rng.integers(5, 14)), int(rng.integers(5, 14)))
    case = random_case(rng, 1, size, channels, kernel, stride, dilation, pads, group)
    # Scales that are powers of two make ties frequent.
    w_scale = rng.choice([2.0**-9, rng.uniform(1e-3, 1e-2)], channels[1]).astype(np.float32)
    if not per_channel:
        w_scale = w_scale[0]
    x_scale = np.float32(rng.choice([1.0, 0.021]))
    case.multiplier = np.broadcast_to(
        np.float32(x_scale) * w_scale / np.float32(y_scale), (channels[1],)
    ).copy()
    expected = ort_conv(case, (x_scale, w_scale, y_scale), list(pads))
    assert_same(case.expected(), expected, "reference")
    program, inputs = case.program()
    for isa in available_isas():
        (actual,) = run_native(program, inputs, isa)
        assert_same(actual.reshape(expected.shape), expected, isa)


@exact_ort
def test_unsigned_weights_equal_onnxruntime() -> None:
    rng = np.random.default_rng(3)
    case = random_case(rng, 1, (9, 9), (20, 30), (3, 3), pads=(1, 1, 1, 1))
    case.w = rng.integers(-128, 128, case.w.shape).astype(np.int16)
    case.multiplier = np.full(30, np.float32(0.02) * np.float32(0.005) / np.float32(0.3))
    expected = ort_conv(case, (0.02, np.float32(0.005), 0.3), [1, 1, 1, 1])
    assert_same(case.expected(), expected, "reference")
    program, inputs = case.program()
    for isa in available_isas():
        (actual,) = run_native(program, inputs, isa)
        assert_same(actual.reshape(expected.shape), expected, isa)

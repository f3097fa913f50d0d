"""RESIZE_LINEAR: the reference against ONNX Runtime, the native command against the reference."""

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.kernels.reference.resize_linear import FIXED, FLOAT, TRUNCATED, interpolation
from tests.kernels.conv_case import assert_same
from tests.kernels.one_command import check_native
from tests.kernels.qdq_model import (
    Array,
    QdqModel,
    channels_first,
    channels_last,
    random_bytes,
    random_quantization,
)

MODES = (
    "half_pixel",
    "pytorch_half_pixel",
    "asymmetric",
    "align_corners",
    "half_pixel_symmetric",
)
SCALES = ((2, 2), (1.5, 3.3), (0.5, 0.7), (1, 2), (3, 1), (0.2, 0.15))


def constants_for(
    x: Array, out: tuple[int, int], scales: tuple[float, float], mode: str, kind: int
) -> list[Array | None]:
    """Rows, row weights, columns, column weights and no table, for x[N, C, H, W]."""
    rows = interpolation(out[0], x.shape[2], scales[0], mode, kind)
    columns = interpolation(out[1], x.shape[3], scales[1], mode, kind)
    return [*rows, *columns, None]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_float_reference_equals_onnxruntime(mode: str, scales: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    for size in ((7, 9), (1, 1), (5, 20)):
        for signed in (False, True):
            x_params = random_quantization(rng, signed=signed)
            # Other parameters than those of x: with the same, older versions run it on the bytes.
            y_params = random_quantization(rng, like=x_params, signed=signed)
            y_params = type(y_params)(
                x_params.scale * np.float32(1.01), x_params.zero_point, signed
            )
            x = random_bytes(rng, (2, 3, *size))
            if (
                min(np.float32(scale) * length for scale, length in zip(scales, size, strict=True))
                < 1
            ):
                continue
            expected = QdqModel(
                "Resize",
                x_params,
                y_params,
                {"mode": "linear", "coordinate_transformation_mode": mode},
                [None, np.array([1, 1, *scales], np.float32)],
            ).run(x)
            constants = constants_for(x, expected.shape[2:], scales, mode, FLOAT)
            attributes = {"kind": FLOAT} | x_params.parameters("x") | y_params.parameters("y")
            actual = np.zeros_like(channels_last(expected))
            REFERENCE["RESIZE_LINEAR"]([channels_last(x), *constants], attributes, actual)
            assert_same(channels_first(actual), expected, (size, signed))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [TRUNCATED, FIXED])
def test_bytes_reference_equals_onnxruntime(mode: str, kind: int) -> None:
    rng = np.random.default_rng(0)
    for scales in ((2, 2), (1.5, 3.3), (0.5, 0.7), (3, 1)):
        x = random_bytes(rng, (2, 3, 7, 9))
        given_x = np.ascontiguousarray(channels_last(x)) if kind == FIXED else x
        all_scales = [1, *scales, 1] if kind == FIXED else [1, 1, *scales]
        node = helper.make_node(
            "Resize",
            ["x", "", "scales"],
            ["y"],
            mode="linear",
            coordinate_transformation_mode=mode,
        )
        graph = helper.make_graph(
            [node],
            "resize",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, given_x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
            [numpy_helper.from_array(np.array(all_scales, np.float32), "scales")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        session = ort.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (expected,) = session.run(None, {"x": given_x})
        if kind == TRUNCATED:
            expected = channels_last(expected)
        constants = constants_for(x, expected.shape[1:3], scales, mode, kind)
        attributes = {"kind": kind, "x_scale": 1.0, "x_zero_point": 0}
        attributes |= {"y_scale": 1.0, "y_zero_point": 0}
        actual = np.zeros(expected.shape, np.uint8)
        REFERENCE["RESIZE_LINEAR"]([channels_last(x), *constants], attributes, actual)
        assert_same(actual, np.ascontiguousarray(expected), scales)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_native_equals_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, channels = int(rng.integers(3)), int(rng.choice([1, 3, 16, 21, 64]))
    x_params = random_quantization(rng)
    attributes = {"kind": kind} | x_params.parameters("x")
    attributes |= random_quantization(rng, like=x_params).parameters("y")
    n, h, w, out_h, out_w = rng.integers(1, 9, 5).tolist()
    x, dims = random_bytes(rng, (n, h, w, channels)), (n, out_h, out_w, channels)
    rows = interpolation(out_h, h, out_h / h, str(rng.choice(MODES)), kind)
    columns = interpolation(out_w, w, out_w / w, str(rng.choice(MODES)), kind)
    table = random_bytes(rng, (channels, 256)) if rng.integers(2) else None
    constants = [*rows, *columns, table]
    check_native("RESIZE_LINEAR", x, constants, attributes, (dims, np.uint8), rng, True)

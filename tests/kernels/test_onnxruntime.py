"""The references of QUANTIZE, DEQUANTIZE, ADD, MUL and the pools equal ONNX Runtime's kernels."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from furiosa_ep.kernels.reference import REFERENCE
from furiosa_ep.kernels.reference._accumulate import fma

Array = npt.NDArray[Any]
Byte: TypeAlias = type[np.uint8] | type[np.int8]
SPECIAL = [np.nan, np.inf, -np.inf, 1e38, -1e38, 3e9, -3e9, 0.5, 1.5, 2.5, -0.5, -0.0, 1e-45]


def run_onnxruntime(
    operator: str, inputs: list[Array], result: type, domain: str = "", **attributes: Any
) -> Array:
    """The result of one node; the first input is an input, the others are initializers."""
    names = [f"i{k}" for k in range(len(inputs))]
    kinds = [helper.np_dtype_to_tensor_dtype(one.dtype) for one in inputs]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], domain=domain, **attributes)],
        "one",
        [helper.make_tensor_value_info(names[0], kinds[0], inputs[0].shape)],
        [
            helper.make_tensor_value_info(
                "y", helper.np_dtype_to_tensor_dtype(np.dtype(result)), None
            )
        ],
        [
            numpy_helper.from_array(array, name)
            for array, name in zip(inputs[1:], names[1:], strict=True)
        ],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {names[0]: inputs[0]})[0])


def stored(array: Array) -> Array:
    """An 8-bit array as the device holds it."""
    return array if array.dtype != np.int8 else array.view(np.uint8) ^ np.uint8(128)


def run_reference(
    opcode: str, operands: list[Array | None], like: Array, **attributes: Any
) -> Array:
    out = np.empty(like.shape, np.float32 if like.dtype == np.float32 else np.uint8)
    REFERENCE[opcode](operands, attributes, out)
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("scale", [1.0, 0.013, 1e-42, 1e30])
def test_quantize_and_dequantize(dtype: Byte, scale: float) -> None:
    rng = np.random.default_rng(0)
    ties = rng.integers(-600, 600, 5000) * np.float32(0.5)
    with np.errstate(over="ignore"):
        x = np.concatenate([SPECIAL, ties * np.float32(scale), rng.normal(0, 99, 5000)])
    x = x.astype(np.float32)
    zero_point: Array = np.array(5, dtype)
    got = run_onnxruntime("QuantizeLinear", [x, np.array(scale, "f4"), zero_point], dtype)
    attributes = {"scale": np.float32(scale), "zero_point": int(stored(zero_point))}
    np.testing.assert_array_equal(
        run_reference("QUANTIZE", [x], np.empty(x.shape, np.uint8), **attributes), stored(got)
    )
    back = run_onnxruntime("DequantizeLinear", [got, np.array(scale, "f4"), zero_point], np.float32)
    np.testing.assert_array_equal(
        run_reference("DEQUANTIZE", [stored(got)], back, **attributes), back
    )


def every_pair(dtype: Byte) -> tuple[Array, Array]:
    codes: Array = np.arange(256, dtype=np.uint8).view(dtype)
    a, b = np.meshgrid(codes, codes, indexing="ij")
    return np.ascontiguousarray(a), np.ascontiguousarray(b)


def random_parameters(seed: int, dtype: Byte) -> list[Array]:
    """Scale and zero point of a, of b and of the result; every fourth time far apart."""
    rng = np.random.default_rng(seed)
    spread = 10 if seed % 4 == 0 else 1
    scales = (10 ** rng.uniform(-spread, spread, 3)).astype(np.float32)
    zero_points: Array = rng.integers(0, 256, 3).astype(np.uint8).view(dtype)
    return [one for pair in zip(scales, zero_points, strict=True) for one in map(np.asarray, pair)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("seed", range(24))
def test_add_of_every_pair(seed: int, dtype: Byte) -> None:
    a, b = every_pair(dtype)
    a_scale, a_zero, b_scale, b_zero, y_scale, y_zero = random_parameters(seed, dtype)
    inputs = [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero]
    want = run_onnxruntime("QLinearAdd", inputs, dtype, "com.microsoft")
    of_a, of_b = a_scale / y_scale, b_scale / y_scale
    zeros = fma(of_a, a_zero.astype(np.float32), of_b * np.float32(b_zero))
    got = run_reference(
        "ADD",
        [stored(a), stored(b), None],
        want,
        signed=int(dtype is np.int8),
        a_scale=of_a,
        b_scale=of_b,
        offset=np.float32(y_zero) - zeros,
    )
    np.testing.assert_array_equal(got, stored(want))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("seed", range(24))
def test_mul_of_every_pair(seed: int, dtype: Byte) -> None:
    a, b = every_pair(dtype)
    a_scale, a_zero, b_scale, b_zero, y_scale, y_zero = random_parameters(seed, dtype)
    inputs = [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero]
    want = run_onnxruntime("QLinearMul", inputs, dtype, "com.microsoft")
    got = run_reference(
        "MUL",
        [stored(a), stored(b), None],
        want,
        signed=int(dtype is np.int8),
        a_zero_point=int(stored(a_zero)),
        b_zero_point=int(stored(b_zero)),
        y_zero_point=int(stored(y_zero)),
        multiplier=a_scale * b_scale / y_scale,
    )
    np.testing.assert_array_equal(got, stored(want))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("seed", [1, 2, 3, 5, 6, 7, 9, 10, 11])  # the others are out of its range
def test_global_average_pool(seed: int, dtype: Byte) -> None:
    rng = np.random.default_rng(seed)
    h, w, channels = rng.integers(1, 9), rng.integers(1, 9), 40
    x: Array = rng.integers(0, 256, (2, h, w, channels)).astype(np.uint8).view(dtype)
    x_scale, x_zero, _, _, y_scale, y_zero = random_parameters(seed, dtype)
    inputs = [x, x_scale, x_zero, y_scale, y_zero]
    want = run_onnxruntime(
        "QLinearGlobalAveragePool", inputs, dtype, "com.microsoft", channels_last=1
    )
    got = run_reference(
        "GLOBAL_AVERAGE_POOL",
        [stored(x), None],
        want,
        x_zero_point=int(stored(x_zero)),
        y_zero_point=int(stored(y_zero)),
        multiplier=x_scale / (y_scale * np.float32(h * w)),
    )
    np.testing.assert_array_equal(got, stored(want))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("seed", range(12))
def test_max_pool(seed: int, dtype: Byte) -> None:
    rng = np.random.default_rng(seed)
    kernel, strides, dilations = rng.integers(1, 4, (3, 2)).tolist()
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    x: Array = rng.integers(0, 256, (2, 5, 11, 12)).astype(np.uint8).view(dtype)
    want = run_onnxruntime(
        "MaxPool", [x], dtype, kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads
    )
    attributes = {
        f"{name}_{axis}": values[k]
        for name, values in (("kernel", kernel), ("stride", strides), ("dilation", dilations))
        for k, axis in enumerate("hw")
    }
    got = run_reference(
        "MAX_POOL",
        [stored(x).transpose(0, 2, 3, 1), None],
        want.transpose(0, 2, 3, 1),
        pad_top=pads[0],
        pad_left=pads[1],
        **attributes,
    )
    np.testing.assert_array_equal(got, stored(want).transpose(0, 2, 3, 1))

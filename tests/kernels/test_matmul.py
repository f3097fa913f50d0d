"""MATMUL: native against reference on every instruction set, and against ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.program import DType, ProgramError
from tests.device_emulator.cases import (
    Case,
    available_isas,
    check,
    contiguous,
    layouts,
    run_native,
)
from tests.kernels.conv_case import Array, assert_same
from tests.kernels.test_conv import SEEDS, exact_ort, random_table


def random_bytes(rng: np.random.Generator, *dims: int) -> Array:
    return rng.integers(0, 256, dims).astype(np.uint8)


def attributes_for(depth: int, rng: np.random.Generator) -> dict[str, float]:
    """Attributes under which results mostly do not saturate."""
    multiplier = np.float32(rng.uniform(10, 60) / (6000 * np.sqrt(depth)))
    zero_points = [0, 128, 255, int(rng.integers(256))]
    return {
        "a_zero_point": int(rng.choice(zero_points)),
        "b_zero_point": int(rng.choice(zero_points)),
        "y_zero_point": int(rng.choice(zero_points)),
        "multiplier": float(multiplier),
    }


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_native_equals_reference_on_any_views(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    sizes = st.one_of(st.integers(1, 20), st.integers(1, 150))
    rows, depth, columns = data.draw(st.tuples(sizes, sizes, sizes))
    batch = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    case = Case("MATMUL", attributes_for(depth, rng))
    for dims in ((*batch, rows, depth), (*batch, depth, columns)):
        case.input(random_bytes(rng, *dims), data.draw(layouts(dims, broadcast=True)))
    to_float = data.draw(st.booleans())
    case.constant(None if to_float else random_table(rng, columns))
    dims = (*batch, rows, columns)
    dtype = DType.F32 if to_float else DType.U8
    check(case.program(dims, data.draw(layouts(dims)), dtype), case.inputs)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 63, 64, 65, 600])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 32, 48, 63, 64, 65, 130])
def test_every_edge_of_a_panel(depth: int, columns: int) -> None:
    rng = np.random.default_rng(depth + columns)
    for rows in (1, 7, 30):
        case = Case("MATMUL", attributes_for(depth, rng))
        case.input(random_bytes(rng, rows, depth), contiguous((rows, depth)))
        case.input(random_bytes(rng, depth, columns), contiguous((depth, columns)))
        case.constant(None)
        check(case.program((rows, columns), contiguous((rows, columns))), case.inputs)


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    case = Case("MATMUL", attributes_for(5, rng))
    case.input(random_bytes(rng, 2, 3, 5), contiguous((2, 3, 5)))
    case.input(random_bytes(rng, 2, 4, 6), contiguous((2, 4, 6)))
    case.constant(None)
    program = case.program((2, 3, 6), contiguous((2, 3, 6)))
    with pytest.raises((ProgramError, AssertionError), match="2x3x5 times 2x4x6 is not 2x3x6"):
        run_native(program, case.inputs)


@exact_ort
@settings(max_examples=40, deadline=None)
@given(
    seed=SEEDS,
    dims=st.tuples(*[st.integers(1, 70)] * 3),
    batch=st.sampled_from([(), (3,), (2, 3)]),
    y_scale=st.sampled_from([0.5, 3.7, 1e-7]),
)
def test_equals_onnxruntime(
    seed: int, dims: tuple[int, int, int], batch: tuple[int, ...], y_scale: float
) -> None:
    rng = np.random.default_rng(seed)
    rows, depth, columns = dims
    a, b = random_bytes(rng, *batch, rows, depth), random_bytes(rng, *batch, depth, columns)
    attributes = attributes_for(depth, rng)
    scales = [np.float32(one) for one in (rng.choice([0.25, 0.021]), 2.0**-6, y_scale)]
    attributes["multiplier"] = float(scales[0] * scales[1] / scales[2])
    constants = {
        name: value
        for one, scale in zip("aby", scales, strict=True)
        for name, value in (
            (f"{one}_scale", scale),
            (f"{one}_zero_point", np.uint8(attributes[f"{one}_zero_point"])),
        )
    }
    names = list(constants)
    node = helper.make_node("QLinearMatMul", ["a", *names[:2], "b", *names[2:]], ["y"])
    graph = helper.make_graph(
        [node],
        "matmul",
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, value.shape)
            for name, value in (("a", a), ("b", b))
        ],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run(None, {"a": a, "b": b})[0])
    case = Case("MATMUL", attributes)
    case.input(a, contiguous(a.shape))
    case.input(b, contiguous(b.shape))
    case.constant(None)
    program = case.program(expected.shape, contiguous(expected.shape))
    for isa in available_isas():
        (actual,) = run_native(program, case.inputs, isa)
        assert_same(actual.reshape(expected.shape), expected, isa)

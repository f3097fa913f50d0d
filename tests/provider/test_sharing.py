"""Sessions of a process share the Programs of equal models."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from tests.provider.fake_driver import Behaviour
from tests.provider.models import model

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def weighted(weight: float, rows: int | str = 3, shift: float = 0.0) -> bytes:
    """y = -(x * w) + b, with constants of the same names and shapes whatever their values."""
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["a"]),
        helper.make_node("Neg", ["a"], ["n"]),
        helper.make_node("Add", ["n", "b"], ["y"]),
    ]
    weights = np.array([[weight, weight, weight, 1]], np.float32)
    constants: dict[str, np.ndarray] = {"w": weights, "b": np.full((1, 4), shift, np.float32)}
    return model(nodes, {"x": (rows, 4)}, {"y": (rows, 4)}, constants)


def session(data: bytes, **own: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = [("FuriosaProvider", own), "CPUExecutionProvider"]
    return ort.InferenceSession(data, options, providers=providers)


def result(one: ort.InferenceSession, x: np.ndarray = X) -> np.ndarray:
    return np.asarray(one.run(None, {"x": x})[0])


def test_equal_models_are_compiled_once(driver: Behaviour) -> None:
    first, second = session(weighted(2)), session(weighted(2))
    assert len(driver.programs) == 1
    np.testing.assert_array_equal(result(first), result(second))
    del first
    third = session(weighted(2))
    assert len(driver.programs) == 1
    np.testing.assert_array_equal(result(third), result(second))


def test_a_program_goes_with_the_last_session_that_uses_it(driver: Behaviour) -> None:
    first, second = session(weighted(2)), session(weighted(2))
    del first, second
    third = session(weighted(2))
    assert len(driver.programs) == 2
    assert result(third)[0, 0] == 0


def test_models_that_differ_in_a_constant_or_a_shape_do_not_share(driver: Behaviour) -> None:
    datas = [weighted(2), weighted(3), weighted(2, shift=1), weighted(2, rows=1)]
    sessions = [session(data) for data in datas]
    assert len(driver.programs) == 4
    expected = [-X * np.array([2, 2, 2, 1], np.float32), -X * np.array([3, 3, 3, 1], np.float32)]
    expected += [expected[0] + 1, expected[0][:1]]
    for one, values, rows in zip(sessions, expected, (3, 3, 3, 1), strict=True):
        np.testing.assert_array_equal(result(one, X[:rows]), values)


def test_sessions_for_other_targets_do_not_share(driver: Behaviour) -> None:
    sessions = [session(weighted(2), target=target) for target in ("warboy", "warboy-2pe")]
    assert len(driver.programs) == 2
    np.testing.assert_array_equal(result(sessions[0]), result(sessions[1]))


def test_open_shapes_share_the_partition_and_its_programs(driver: Behaviour) -> None:
    first, second = session(weighted(2, "N")), session(weighted(2, "N"))
    assert driver.alive == 1
    for one in (first, second):
        for rows in (1, 3):
            values = -X[:rows] * np.array([2, 2, 2, 1], np.float32)
            np.testing.assert_array_equal(result(one, X[:rows]), values)
    assert driver.programs == [((1, 4),), ((3, 4),)]
    del first
    assert driver.alive == 1
    np.testing.assert_array_equal(result(second, X[:2]), -X[:2] * np.array([2, 2, 2, 1]))
    del second, one
    assert driver.alive == 0


def test_a_failure_is_not_shared(driver: Behaviour) -> None:
    driver.fail_at = "program"
    for _ in range(2):
        with pytest.raises(Exception, match="planned failure"):
            session(weighted(2))
    driver.fail_at = ""
    assert result(session(weighted(2)))[0, 0] == 0


def test_threads_create_sessions_of_one_model(driver: Behaviour) -> None:
    driver.delay = 0.01
    datas = [weighted(float(weight)) for weight in (2, 3)] * 8
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(session, datas))
        results = list(pool.map(result, sessions))
    for values, weight in zip(results, (2, 3) * 8, strict=True):
        np.testing.assert_array_equal(values, -X * np.array([weight, weight, weight, 1]))


MEMORY = """
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import furiosa_ep

SIZE = 4096

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

def made(seed):
    constants = {
        "s": np.float32(0.02), "z": np.uint8(128), "t": np.float32(0.01), "i": np.int8(0),
        "w": np.random.default_rng(seed).integers(-127, 127, (SIZE, SIZE)).astype(np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "t", "i"], ["wf"]),
        helper.make_node("MatMul", ["xf", "wf"], ["yf"]),
        helper.make_node("QuantizeLinear", ["yf", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, SIZE])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()

def session(data):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(data, options, providers=["FuriosaProvider"])

furiosa_ep.register()
data, other = made(0), made(1)
x = {"x": np.arange(SIZE, dtype=np.uint8).reshape(1, SIZE)}
first = session(data)
want = first.run(None, x)[0]
before = resident()
same = [session(data) for _ in range(3)]
shared = resident() - before
assert all(np.array_equal(one.run(None, x)[0], want) for one in same)
different = session(other)
alone = resident() - before - shared
assert not np.array_equal(different.run(None, x)[0], want)
assert shared < 4 < 12 < alone, (shared, alone)
"""


def test_packed_weights_are_in_memory_once() -> None:
    subprocess.run([sys.executable, "-c", MEMORY], check=True, timeout=120)

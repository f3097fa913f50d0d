"""What a session on FuriosaProvider does."""

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.provider.fake_driver import Behaviour
from tests.provider.models import chain, mixed, model

T = TypeVar("T")

PROVIDERS = ["FuriosaProvider", "CPUExecutionProvider"]
X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.array([[1, 2, 3]], np.float32)


def providers_of_nodes(session_bytes: bytes, **kwargs: object) -> dict[str, list[str]]:
    """The operators that each provider got."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(session_bytes, options, providers=PROVIDERS, **kwargs)
    return {
        part.ep_name: [node.op_type for node in part.get_nodes()]
        for part in session.get_provider_graph_assignment_info()
    }


def test_session_by_name(driver: Behaviour) -> None:
    session = ort.InferenceSession(chain(), providers=PROVIDERS)
    assert session.get_providers() == PROVIDERS
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], -(X + W))


def test_what_is_not_claimed_runs_on_the_cpu(driver: Behaviour) -> None:
    session = ort.InferenceSession(mixed(), providers=PROVIDERS)
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], np.floor(-X))
    assert providers_of_nodes(mixed()) == {
        "FuriosaProvider": ["Neg"],
        "CPUExecutionProvider": ["Floor"],
    }


def test_session_by_device(driver: Behaviour) -> None:
    devices = [d for d in ort.get_ep_devices() if d.ep_name == "FuriosaProvider"]
    assert [d.device.type for d in devices] == [ort.OrtHardwareDeviceType.NPU]
    assert devices[0].ep_vendor == "FuriosaAI"
    assert devices[0].device.metadata["is_virtual"] == "1"
    options = ort.SessionOptions()
    options.add_provider_for_devices(devices, {"program_cache_size": "3"})
    session = ort.InferenceSession(chain(), options)
    assert session.get_providers()[0] == "FuriosaProvider"
    assert driver.options[0].program_cache_size == 3
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], -(X + W))


def test_session_by_policy(driver: Behaviour) -> None:
    options = ort.SessionOptions()
    options.set_provider_selection_policy(ort.OrtExecutionProviderDevicePolicy.PREFER_NPU)
    session = ort.InferenceSession(chain(), options)
    assert session.get_providers()[0] == "FuriosaProvider"
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], -(X + W))


def test_cpu_fallback_can_be_forbidden(driver: Behaviour) -> None:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = ort.InferenceSession(chain(), options, providers=["FuriosaProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], -(X + W))
    with pytest.raises(Exception, match="fallback"):
        ort.InferenceSession(mixed(), options, providers=["FuriosaProvider"])


def test_bound_buffers_are_read_and_written_in_place(driver: Behaviour) -> None:
    session = ort.InferenceSession(chain(), providers=PROVIDERS)
    source = ort.OrtValue.ortvalue_from_numpy(X)
    target = ort.OrtValue.ortvalue_from_numpy(np.full((2, 3), 7, np.float32))
    before = target.data_ptr()
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", source)
    binding.bind_ortvalue_output("y", target)
    session.run_with_iobinding(binding)
    assert target.data_ptr() == before
    np.testing.assert_array_equal(target.numpy(), -(X + W))
    assert binding.get_outputs()[0].data_ptr() == before


def test_symbolic_dims_get_a_program_per_shape(driver: Behaviour) -> None:
    session = ort.InferenceSession(chain(["N", 3]), providers=PROVIDERS)
    assert driver.programs == []
    for rows in (2, 5, 2, 5, 0):
        x = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], -(x + W))
    assert driver.programs == [((2, 3),), ((5, 3),), ((0, 3),)]


def test_the_least_recently_used_program_goes_first(driver: Behaviour) -> None:
    options = {"program_cache_size": "2"}
    session = ort.InferenceSession(
        chain(["N", 3]), providers=[("FuriosaProvider", options), "CPUExecutionProvider"]
    )
    for rows in (1, 2, 1, 3, 1, 2):
        session.run(None, {"x": np.zeros((rows, 3), np.float32)})
    assert [shape[0] for (shape,) in driver.programs] == [1, 2, 3, 2]


def test_concurrent_first_runs_of_a_shape_compile_once(driver: Behaviour) -> None:
    driver.delay = 0.2
    session = ort.InferenceSession(chain(["N", 3]), providers=PROVIDERS)
    results = run_in_threads(lambda: session.run(None, {"x": X})[0], 6)
    assert len(driver.programs) == 1
    for result in results:
        np.testing.assert_array_equal(result, -(X + W))


def test_concurrent_runs(driver: Behaviour) -> None:
    session = ort.InferenceSession(chain(["N", 3]), providers=PROVIDERS)

    def work() -> list[bool]:
        random = np.random.default_rng(threading.get_ident() % 1000)
        equal = []
        for _ in range(50):
            x = random.normal(size=(int(random.integers(1, 5)), 3)).astype(np.float32)
            equal.append(bool(np.array_equal(session.run(None, {"x": x})[0], -(x + W))))
        return equal

    assert all(all(one) for one in run_in_threads(work, 8))
    assert len(driver.programs) == 4


def run_in_threads(work: Callable[[], T], count: int) -> list[T]:
    """What `work` gives in each of `count` threads that start together."""
    barrier = threading.Barrier(count)
    results: list[T] = []

    def main() -> None:
        barrier.wait()
        results.append(work())

    threads = [threading.Thread(target=main) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results


def test_several_inputs_and_outputs_in_any_order(driver: Behaviour) -> None:
    nodes = [
        helper.make_node("Neg", ["q"], ["late"]),
        helper.make_node("Mul", ["p", "q"], ["product"]),
        helper.make_node("Abs", ["late"], ["early"]),
    ]
    dims = dict.fromkeys(["p", "q", "r"], (2, 3))
    made = model(
        [*nodes, helper.make_node("Add", ["r", "early"], ["sum"])],
        dims,
        dict.fromkeys(["sum", "product", "late"], (2, 3)),
    )
    session = ort.InferenceSession(made, providers=PROVIDERS)
    q, p, r = X - 2, X * 3, X + 1
    total, product, late = session.run(["sum", "product", "late"], {"r": r, "q": q, "p": p})
    np.testing.assert_array_equal(total, r + abs(q))
    np.testing.assert_array_equal(product, p * q)
    np.testing.assert_array_equal(late, -q)


def test_partitions_are_released_with_their_session(driver: Behaviour) -> None:
    session = ort.InferenceSession(chain(["N", 3]), providers=PROVIDERS)
    session.run(None, {"x": X})
    assert driver.alive == 1
    del session
    assert driver.alive == 0


def test_many_tensors(driver: Behaviour) -> None:
    names = [f"x{index}" for index in range(40)]
    made = model(
        [helper.make_node("Neg", [name], ["y" + name]) for name in names],
        dict.fromkeys(names, ("N", 3)),
        {"y" + name: ("N", 3) for name in names},
    )
    session = ort.InferenceSession(made, providers=PROVIDERS)
    feeds = {name: X + index for index, name in enumerate(names)}
    for name, result in zip(names, session.run(None, feeds), strict=True):
        np.testing.assert_array_equal(result, -feeds[name])


def test_control_flow_stays_on_the_cpu(driver: Behaviour) -> None:
    def body(name: str, op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3))
        return helper.make_graph([helper.make_node(op, ["a"], [name])], name, [], [out])

    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("ReduceSum", ["a"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["flag"], to=TensorProto.BOOL),
        helper.make_node(
            "If", ["flag"], ["b"], then_branch=body("then", "Neg"), else_branch=body("else", "Abs")
        ),
        helper.make_node("Abs", ["b"], ["y"]),
    ]
    made = model(nodes, {"x": (2, 3)}, {"y": (2, 3)})
    session = ort.InferenceSession(made, providers=PROVIDERS)
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], X)
    # What a body captures is seen, so that nothing is fused away from under it.
    (conditional,) = [node for node in driver.models[0].graph.node if node.op_type == "If"]
    branches = {a.name: [node.op_type for node in a.g.node] for a in conditional.attribute}
    assert branches == {"then_branch": ["Neg"], "else_branch": ["Abs"]}
    assert conditional.attribute[0].g.node[0].input == ["a"]


def test_local_functions(driver: Behaviour) -> None:
    function = helper.make_function(
        "test.local",
        "Twice",
        ["v"],
        ["w"],
        [helper.make_node("Add", ["v", "v"], ["w"])],
        [helper.make_opsetid("", 17)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["a"]),
            helper.make_node("Twice", ["a"], ["y"], domain="test.local"),
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("test.local", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=[function])
    session = ort.InferenceSession(made.SerializeToString(), providers=PROVIDERS)
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], -2 * X)

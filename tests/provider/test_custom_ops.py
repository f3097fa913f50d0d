"""Operators of plugins' own domains in sessions: how they get there, and where they run."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

import furiosa_ep
from furiosa_ep.partitioner.schema import Schema
from tests.provider.conftest import LoadSchemas
from tests.provider.fake_driver import Behaviour
from tests.provider.models import chain
from tests.provider.plugin_operators import (
    CLIP_SUM,
    CPU,
    PROVIDERS,
    X,
    by_device,
    by_name,
    by_policy,
    by_provider,
    cpu_session,
    devices,
    divide_by_zero,
    model,
    node,
    sum_model,
    unary,
)


def by_name_with_options(made: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(made, providers=[("FuriosaProvider", {"claim": "all"}), CPU])


@pytest.mark.parametrize(
    "create",
    [by_name, by_name_with_options, by_device, by_policy, by_provider, cpu_session],
)
def test_every_way_to_create_a_session_loads_the_operator(
    load: LoadSchemas, create: Callable[[bytes], ort.InferenceSession]
) -> None:
    load(CLIP_SUM)
    session = create(sum_model())
    assert session.get_providers()[0] == (CPU if create is cpu_session else "FuriosaProvider")
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], np.clip(2 * X, 2, 7))


def test_without_a_plugin_onnxruntime_refuses_the_operator(load: LoadSchemas) -> None:
    load()
    for create in (by_name, by_device, by_policy, cpu_session):
        with pytest.raises(Fail, match=r"hello:ClipSum.* is not a registered function/op"):
            create(sum_model())


def test_a_session_on_the_cpu_has_the_operators_only_if_asked(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    with pytest.raises(Fail, match="is not a registered function/op"):
        ort.InferenceSession(sum_model(), providers=[CPU])


def test_a_plugin_that_is_loaded_after_registration_counts(load: LoadSchemas) -> None:
    load()
    by_device(chain())
    load(CLIP_SUM)
    for create in (by_name, by_device, cpu_session):
        create(sum_model()).run(None, {"x": X})
    load(Schema("Other", "other", "x:float -> z:float"))
    with pytest.raises(Fail, match="is not a registered function/op"):
        by_name(sum_model())


def test_options_can_be_used_again(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    options = ort.SessionOptions()
    options.register_custom_ops_library(furiosa_ep.get_library_path())
    options.register_custom_ops_library(furiosa_ep.get_library_path())
    for providers in ([CPU], PROVIDERS, PROVIDERS):
        session = ort.InferenceSession(sum_model(), options, providers=providers)
        session.run(None, {"x": X})
    for _ in range(2):
        options = session.get_session_options()
        session = ort.InferenceSession(sum_model(), options, providers=PROVIDERS)
        session.run(None, {"x": X})


def test_options_with_devices_can_be_used_again_by_name(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    options = ort.SessionOptions()
    options.add_provider_for_devices(devices(), {})
    for _ in range(2):
        ort.InferenceSession(sum_model(), options).run(None, {"x": X})
    with pytest.warns(UserWarning, match="already been configured"):
        ort.InferenceSession(sum_model(), options, providers=PROVIDERS).run(None, {"x": X})


def test_a_session_can_change_its_providers(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    session = by_name(sum_model())
    for providers in ([CPU], PROVIDERS, [CPU]):
        session.set_providers(providers)
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], np.clip(2 * X, 2, 7))


def test_without_schemas_options_are_left_alone(load: LoadSchemas) -> None:
    load()
    options = ort.SessionOptions()
    ort.InferenceSession(chain(), options, providers=PROVIDERS)
    with pytest.raises(RuntimeError, match=r"furiosa_ep\.custom_ops"):
        options.get_session_config_entry("furiosa_ep.custom_ops")


def test_a_claimed_node_runs_on_the_npu_beside_built_in_operators(load: LoadSchemas) -> None:
    # The fake driver takes whatever is called Neg; the plugin's function would tell.
    load(Schema("Neg", "hello", "x:float -> z:float", compute=divide_by_zero))
    nodes = [helper.make_node("Abs", ["x"], ["a"]), node("Neg", "a", "b")]
    made = model(
        [*nodes, helper.make_node("Add", ["b", "x"], ["z"])], {"x": (TensorProto.FLOAT, ("N", 3))}
    )
    for create in (by_name, by_device, by_policy):
        session = create(made)
        assert session.get_outputs()[0].shape == ["N", 3]
        np.testing.assert_array_equal(session.run(None, {"x": -X})[0], -2 * X)
    with pytest.raises(InvalidArgument, match="ZeroDivisionError"):
        cpu_session(made).run(None, {"x": X})


def test_an_unclaimed_node_runs_on_the_cpu_beside_the_npu(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    made = model(
        [
            helper.make_node("Neg", ["x"], ["a"]),
            node("ClipSum", "a x", low=-1),
        ],
        {"x": (TensorProto.FLOAT, (2, 3))},
    )
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(made, options, providers=PROVIDERS)
    assigned = [
        (part.ep_name, sorted(one.op_type for one in part.get_nodes()))
        for part in session.get_provider_graph_assignment_info()
    ]
    assert sorted(assigned) == [(CPU, ["ClipSum"]), ("FuriosaProvider", ["Neg"])]
    expected = cpu_session(made).run(None, {"x": X})[0]
    assert session.run(None, {"x": X})[0].tobytes() == expected.tobytes()


def test_a_node_in_the_body_of_control_flow_runs_on_the_cpu(load: LoadSchemas) -> None:
    load(CLIP_SUM)

    def body(name: str, low: int) -> onnx.GraphProto:
        inner = [node("ClipSum", "x x", name, low=low)]
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3))
        return helper.make_graph(inner, name, [], [value])

    nodes = [
        helper.make_node(
            "If", ["flag"], ["z"], then_branch=body("then", 3), else_branch=body("else", 9)
        )
    ]
    made = model(nodes, {"x": (TensorProto.FLOAT, (2, 3)), "flag": (TensorProto.BOOL, ())})
    for flag, low in ((True, 3), (False, 9)):
        result = by_name(made).run(None, {"x": X, "flag": np.array(flag)})[0]
        np.testing.assert_array_equal(result, np.maximum(2 * X, low))


NPU_ONLY = Schema("Op", "hello", "x:float -> z:float")


def test_an_operator_for_the_npu_only_says_so_where_it_is_not_on_it(load: LoadSchemas) -> None:
    load(NPU_ONLY)
    said = "operator hello:Op of plugin 'hello' runs on the NPU only, "
    with pytest.raises(RuntimeException, match=said + r"which does not take node 'Op\(z\)'"):
        by_name(unary())
    with pytest.raises(
        RuntimeException, match=said + r"and the session of node 'Op\(z\)' has no FuriosaProvider"
    ):
        cpu_session(unary())


def test_an_operator_for_the_npu_only_runs_there(load: LoadSchemas) -> None:
    load(Schema("Neg", "hello", "x:float -> z:float"))
    np.testing.assert_array_equal(by_name(unary("Neg")).run(None, {"x": X})[0], -X)


def test_a_session_on_the_cpu_is_not_blamed_on_another_session(load: LoadSchemas) -> None:
    load(NPU_ONLY, CLIP_SUM)
    session = by_name(sum_model())
    with pytest.raises(RuntimeException, match=r"does not take|has no FuriosaProvider") as raised:
        cpu_session(unary())
    if int(ort.__version__.split(".")[1]) >= 27:  # it says when the other session is complete
        assert "has no FuriosaProvider" in str(raised.value)
    session.run(None, {"x": X})


def local_function(op: str, body: str) -> onnx.FunctionProto:
    inner = [helper.make_node(body, ["v"], ["w"])]
    return helper.make_function("hello", op, ["v"], ["w"], inner, [helper.make_opsetid("", 17)])


def test_a_local_function_that_is_not_claimed_is_inlined(
    load: LoadSchemas, driver: Behaviour
) -> None:
    load()
    made = model(
        [node("Op", "x")],
        {"x": (TensorProto.FLOAT, (2, 3))},
        functions=[local_function("Op", "Neg")],
    )
    np.testing.assert_array_equal(by_name(made).run(None, {"x": X})[0], -X)
    shown = [[one.op_type for one in one_model.graph.node] for one_model in driver.models]
    assert shown == [["Op"], ["Neg"]]


def test_a_local_function_that_is_claimed_runs_on_the_npu(
    load: LoadSchemas, driver: Behaviour
) -> None:
    load()
    made = model(
        [node("Neg", "x")],
        {"x": (TensorProto.FLOAT, (2, 3))},
        functions=[local_function("Neg", "Floor")],
    )
    np.testing.assert_array_equal(by_name(made).run(None, {"x": X + 0.5})[0], -(X + 0.5))
    assert all(one.graph.node[0].domain == "hello" for one in driver.models)
    np.testing.assert_array_equal(
        ort.InferenceSession(made, providers=[CPU]).run(None, {"x": X + 0.5})[0], X
    )


def test_a_schema_comes_before_a_local_function(load: LoadSchemas) -> None:
    load(CLIP_SUM, Schema("Op", "hello", "x:float -> z:float", compute=lambda *_: X + 50))
    made = model(
        [node("Op", "x")],
        {"x": (TensorProto.FLOAT, (2, 3))},
        functions=[local_function("Op", "Neg")],
    )
    np.testing.assert_array_equal(by_name(made).run(None, {"x": X})[0], X + 50)

"""What cannot be estimated is told, whatever is wrong with it."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.cli.selftest import tiny_model
from furiosa_ep.estimation import EstimateError, estimate
from furiosa_ep.quantization import quantize_model
from tests.estimation.models import OPSET, network

IMAGE = [1, 3, 8, 8]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[str] = ("y",),
    constants: Sequence[onnx.TensorProto] = (),
    opset: int = OPSET,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


FILTERS = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")
WRONG = {
    "cycle": (
        model_of(
            [helper.make_node("Add", ["x", "y"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
        ),
        "topologically sorted",
    ),
    "no such value": (model_of([helper.make_node("Relu", ["z"], ["y"])]), "'z'"),
    "two of one name": (model_of([helper.make_node("Relu", ["x"], ["y"])] * 2), "'y'"),
    "unknown operator": (model_of([helper.make_node("Nonsense", ["x"], ["y"])]), "Nonsense"),
    "too few inputs": (model_of([helper.make_node("BatchNormalization", ["x"], ["y"])]), "size 1"),
    "wrong scale": (
        model_of(
            [helper.make_node("BatchNormalization", ["x", *["s"] * 4], ["y"])],
            constants=[numpy_helper.from_array(np.ones((3, 1), np.float32), "s")],
        ),
        "rank",
    ),
    "opset to come": (model_of([helper.make_node("Relu", ["x"], ["y"])], opset=99), "opset 99"),
    "no outputs": (model_of([helper.make_node("Relu", ["x"], ["y"])], ()), "no outputs"),
}


@pytest.mark.parametrize(("model", "message"), WRONG.values(), ids=WRONG)
def test_a_model_that_is_not_valid(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(EstimateError, match=message):
        estimate(model)


def test_inputs_that_are_no_tensors() -> None:
    model = model_of([helper.make_node("SequenceLength", ["x"], ["y"])])
    value = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, IMAGE)
    model.graph.input[0].CopyFrom(value)
    with pytest.raises(EstimateError, match="'x' is no tensor"):
        estimate(model)


def test_custom_operators_stay_on_the_host() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("Own", ["a"], ["y"], "own", domain="own"),
    ]
    found = estimate(model_of(nodes, constants=[FILTERS]), options={"claim": "all"})
    assert [(node.name, node.op_type, node.code) for node in found.host_nodes] == [
        ("own", "Own", "not-registered")
    ]
    assert found.macs == 8 * 6 * 6 * 27


def test_names_that_are_no_text() -> None:
    serialized = network().SerializeToString()
    for name in (b"conv0", b"Conv", b"bn3"):
        with pytest.raises(EstimateError, match="not an ONNX model"):
            estimate(serialized.replace(name, b"\xff" * len(name)))


def test_weights_that_do_not_fill_their_shape() -> None:
    model = network()
    (flat,) = (one for one in model.graph.initializer if one.name == "flat")
    flat.dims[0] = 3
    with pytest.raises(EstimateError, match="not a valid ONNX model"):
        estimate(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nonsense": "1"}, "no such option"),
        ({"claim": "nothing"}, "'claim'='nothing': expected one of profitable, all"),
    ],
)
def test_options_that_a_session_refuses(options: dict[str, str], message: str) -> None:
    for model in (network(), tiny_model()):
        with pytest.raises(EstimateError, match=message):
            estimate(model, options=options)


def test_a_model_that_cannot_be_for_a_batch() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "s"], ["y"]),
    ]
    shape = numpy_helper.from_array(np.array([8, 36]), "s")
    model = model_of(nodes, constants=[FILTERS, shape])
    assert estimate(model).macs
    with pytest.raises(EstimateError, match="not be made for a batch of 4"):
        estimate(model, batch=4)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime warns of constants that nothing reads, and tells when it falls back."""
    samples = [np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)]
    estimate(quantize_model(network(), samples, "min-max"), batch=4)
    model = tiny_model()
    model.graph.node[0].op_type = "Nonsense"
    with pytest.raises(EstimateError):
        estimate(model)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_damaged_files() -> None:
    """Any byte may be wrong: there is an estimate, or it is told why there is none."""
    random = np.random.default_rng(0)
    whole = network().SerializeToString()
    outcomes = {True: 0, False: 0}
    for _ in range(200):
        damaged = bytearray(whole)
        for at in random.integers(len(whole) - 1500, len(whole), 2):
            damaged[at] = random.integers(256)
        try:
            outcomes[estimate(bytes(damaged)).latency_ms >= 0] += 1
        except EstimateError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 10

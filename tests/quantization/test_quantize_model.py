"""`quantize_model`: every form of model and of data, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.quantization import PRESETS, Preset, QuantizationError, quantize_model

Array = npt.NDArray[np.float32]


def conv_model(opset: int = 13) -> onnx.ModelProto:
    """Conv, BatchNormalization and Relu on an open batch, with metadata."""
    random = np.random.default_rng(1)
    weight = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    weight[0] *= 100
    constants = {
        "w": weight,
        "gamma": np.full(4, 2, np.float32),
        "beta": np.ones(4, np.float32),
        "mean": np.zeros(4, np.float32),
        "variance": np.ones(4, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 8, 8])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    helper.set_model_props(model, {"character": "a\nb"})
    return model


def samples(count: int = 8) -> list[Array]:
    random = np.random.default_rng(2)
    return [random.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(count)]


def run(model: onnx.ModelProto, feed: dict[str, Array]) -> Array:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: Array = session.run(None, feed)[0]
    return output


def op_types(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def constant(model: onnx.ModelProto, name: str) -> npt.NDArray[np.generic]:
    return numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == name))


def quantizers(model: onnx.ModelProto, op_type: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op_type]


def test_result_is_close_to_the_float_model() -> None:
    model, feeds = conv_model(), samples()
    quantized = quantize_model(model, feeds)
    expected, actual = run(model, {"x": feeds[0]}), run(quantized, {"x": feeds[0]})
    noise = np.square(expected - actual).mean() / np.square(expected).mean()
    assert noise < 1e-3


def test_default_has_uint8_activations_and_int8_weights_per_channel() -> None:
    quantized = quantize_model(conv_model(), samples())
    assert op_types(quantized) == {"QuantizeLinear", "DequantizeLinear", "Conv"}
    for node in quantizers(quantized, "QuantizeLinear"):
        assert constant(quantized, node.input[2]).dtype == np.uint8
    weight = next(n for n in quantizers(quantized, "DequantizeLinear") if "w" in n.input[0])
    assert constant(quantized, weight.input[0]).dtype == np.int8
    assert constant(quantized, weight.input[1]).shape == (4,)


def test_int8_preset_has_int8_activations() -> None:
    quantized = quantize_model(conv_model(), samples(), "int8")
    for node in quantizers(quantized, "QuantizeLinear"):
        assert constant(quantized, node.input[2]).dtype == np.int8


def test_per_tensor_preset_has_one_weight_scale() -> None:
    quantized = quantize_model(conv_model(), samples(), Preset(per_channel=False))
    assert quantized == quantize_model(conv_model(), samples(), PRESETS["per-tensor"])
    weight = next(n for n in quantizers(quantized, "DequantizeLinear") if "w" in n.input[0])
    assert constant(quantized, weight.input[1]).shape == ()


def test_average_calibration_clips_what_is_rare() -> None:
    feeds = [*samples(15), samples(1)[0] * 100]
    scales = {}
    for calibration in ("extremes", "average"):
        quantized = quantize_model(conv_model(), feeds, Preset(calibration=calibration))
        node = next(n for n in quantizers(quantized, "QuantizeLinear") if n.input[0] == "x")
        scales[calibration] = float(constant(quantized, node.input[1]).item())
    assert scales["average"] == pytest.approx(scales["extremes"] * (115 / 16) / 100, rel=0.2)


def test_model_may_be_a_path_bytes_or_a_proto(tmp_path: Path) -> None:
    model = conv_model()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    expected = quantize_model(model, samples())
    assert quantize_model(path, samples()) == expected
    assert quantize_model(str(path), samples()) == expected
    assert quantize_model(model.SerializeToString(), samples()) == expected


def test_given_model_is_left_as_it_is() -> None:
    model = conv_model()
    quantize_model(model, samples())
    assert model == conv_model()


class Reader:
    def __init__(self) -> None:
        self._feeds = iter(samples())

    def get_next(self) -> dict[str, Array] | None:
        array = next(self._feeds, None)
        return None if array is None else {"x": array}


def test_data_may_be_arrays_dicts_a_generator_or_a_reader() -> None:
    def generate() -> Iterator[Array]:
        yield from samples()

    expected = quantize_model(conv_model(), samples())
    assert quantize_model(conv_model(), [{"x": array} for array in samples()]) == expected
    assert quantize_model(conv_model(), generate()) == expected
    assert quantize_model(conv_model(), np.stack(samples())) == expected
    assert quantize_model(conv_model(), Reader()) == expected


@pytest.mark.parametrize("count", [1, 16, 32])
def test_any_number_of_samples_will_do(count: int) -> None:
    assert "QuantizeLinear" in op_types(quantize_model(conv_model(), samples(count)))


def test_metadata_survives() -> None:
    quantized = quantize_model(conv_model(), samples(1))
    assert {entry.key: entry.value for entry in quantized.metadata_props}["character"] == "a\nb"


@pytest.mark.parametrize("opset", [9, 11])
def test_old_opsets_are_raised(opset: int) -> None:
    quantized = quantize_model(conv_model(opset), samples())
    assert [(entry.domain, entry.version) for entry in quantized.opset_import] == [("", 13)]


def test_newer_opset_is_kept() -> None:
    quantized = quantize_model(conv_model(17), samples())
    assert [(entry.domain, entry.version) for entry in quantized.opset_import] == [("", 17)]


def test_initializers_may_be_inputs() -> None:
    model = conv_model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    quantized = quantize_model(model, samples())
    assert [value.name for value in quantized.graph.input] == ["x"]


def test_matmul_with_bias_is_quantized_per_channel() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 7, opset_import: ["": 13]> g (float[1,4] x) => (float[1,2] y) '
        "<float[4,2] w = {1,2,3,4,5,6,7,8}, float[1,2] b = {1,-1}> "
        "{ m = MatMul(x, w)  y = Add(m, b) }"
    )
    feeds = [np.random.default_rng(3).normal(size=(1, 4)).astype(np.float32)]
    quantized = quantize_model(model, feeds)
    assert run(quantized, {"x": feeds[0]}) == pytest.approx(run(model, {"x": feeds[0]}), rel=0.05)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no calibration data"),
        ([{"z": np.zeros((1, 3, 8, 8), np.float32)}], "sample 0 has the inputs z"),
    ],
)
def test_data_that_does_not_fit_is_refused(data: list[dict[str, Array]], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        quantize_model(conv_model(), data)


def test_one_array_for_two_inputs_is_refused() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 7, opset_import: ["": 13]> g (float[2] a, float[2] b) => (float[2] y) '
        "{ y = Add(a, b) }"
    )
    with pytest.raises(QuantizationError, match="inputs a, b"):
        quantize_model(model, [np.zeros(2, np.float32)])


def test_quantized_model_is_refused() -> None:
    with pytest.raises(QuantizationError, match="quantized already"):
        quantize_model(quantize_model(conv_model(), samples(1)), samples(1))


def test_unknown_preset_names_the_presets() -> None:
    with pytest.raises(QuantizationError, match="default, best, int8, per-tensor, min-max"):
        quantize_model(conv_model(), samples(1), "finest")


@pytest.mark.parametrize("model", [b"\x00nonsense", "missing.onnx"])
def test_unreadable_model_is_refused(model: bytes | str) -> None:
    with pytest.raises(QuantizationError):
        quantize_model(model, samples(1))

"""The names of the Furiosa SDK: as it has them, and what they do."""

import inspect
import json
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from furiosa_ep import quantization
from furiosa_ep.quantization import (
    CalibrationMethod,
    Calibrator,
    ModelEditor,
    QuantizationError,
    TensorType,
    calibrate,
    quantize,
    quantize_model,
)
from furiosa_ep.quantization import percentile as percentile_of

Array = npt.NDArray[Any]
METHODS = {
    "MIN_MAX_ASYM": "extremes",
    "MIN_MAX_SYM": "extremes-sym",
    "ENTROPY_ASYM": "entropy",
    "ENTROPY_SYM": "entropy-sym",
    "PERCENTILE_ASYM": "percentile",
    "PERCENTILE_SYM": "percentile-sym",
    "MSE_ASYM": "mse",
    "MSE_SYM": "mse-sym",
    "SQNR_ASYM": "sqnr",
    "SQNR_SYM": "sqnr-sym",
}


def model(more: str = "", code: str = "y = Relu(c)") -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1,3,8,8] x{more}) => (float[1,4,a,b] y) {{ c = Conv(x, w)  {code} }}
        """
    )
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return proto


def samples(count: int = 6) -> list[list[Array]]:
    random = np.random.default_rng(1)
    return [[random.normal(size=(1, 3, 8, 8)).astype(np.float32)] for _ in range(count)]


def test_enums_have_the_sdk_s_values() -> None:
    assert issubclass(CalibrationMethod, IntEnum)
    assert issubclass(TensorType, IntEnum)
    assert {method.name: method.value for method in CalibrationMethod} == {
        name: number for number, name in enumerate(METHODS)
    }
    assert {kind.name: kind.value for kind in TensorType} == {"UINT8": 1, "INT8": 2}


def test_all_names_of_the_sdk_are_exported() -> None:
    names = ("CalibrationMethod", "Calibrator", "ModelEditor", "TensorType", "quantize")
    for name in (*names, "get_pure_input_names", "get_output_names"):
        assert name in quantization.__all__
        assert hasattr(quantization, name)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (Calibrator, "model, calibration_method, *, percentage=99.99"),
        (Calibrator.collect_data, "self, calibration_dataset"),
        (Calibrator.compute_range, "self, verbose=False"),
        (quantize, "model, ranges"),
        (ModelEditor, "model"),
        (ModelEditor.convert_input_type, "self, tensor_name, tensor_type"),
        (ModelEditor.convert_output_type, "self, tensor_name, tensor_type, tensor_range=None"),
        (quantization.get_pure_input_names, "model"),
        (quantization.get_output_names, "model"),
    ],
)
def test_signatures_are_those_of_the_sdk(function: Any, parameters: str) -> None:
    signature = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    found = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    assert str(found) == f"({parameters})"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_ranges_are_those_of_the_calibrator(name: str, as_bytes: bool) -> None:
    proto = model()
    calibrator = Calibrator(
        proto.SerializeToString() if as_bytes else proto, CalibrationMethod[name]
    )
    calibrator.collect_data(samples())
    found = calibrator.compute_range()
    expected = calibrate(model(), [array for (array,) in samples()], METHODS[name])
    assert found == expected
    assert all(type(one) is tuple and type(one[0]) is float for one in found.values())


def test_symmetric_methods_reach_as_far_below_zero_as_above() -> None:
    for method in CalibrationMethod:
        calibrator = Calibrator(model(), method)
        calibrator.collect_data([[array + 0.3] for (array,) in samples()])
        low, high = calibrator.compute_range()["x"]
        if "_SYM" not in method.name:
            assert -low != high
        elif method is not CalibrationMethod.PERCENTILE_SYM:
            assert -low == high
        assert calibrator.compute_range()["y"][0] == 0


def test_data_can_be_collected_in_several_calls() -> None:
    once = Calibrator(model(), CalibrationMethod.MSE_ASYM)
    once.collect_data(samples())
    several = Calibrator(model(), CalibrationMethod.MSE_ASYM)
    for sample in samples():
        several.collect_data([sample])
    several.collect_data([])
    several.collect_data(iter([]))
    assert several.compute_range() == once.compute_range() == once.compute_range(verbose=True)
    once.collect_data([[array * 3] for (array,) in samples()])
    wider = once.compute_range()
    assert wider["x"][1] > several.compute_range()["x"][1]


def test_the_percentage_is_that_of_percentiles() -> None:
    calibrator = Calibrator(model(), CalibrationMethod.PERCENTILE_SYM, percentage=90)
    calibrator.collect_data(samples())
    arrays = [array for (array,) in samples()]
    assert calibrator.compute_range() == calibrate(model(), arrays, percentile_of(90, True))
    with pytest.raises(QuantizationError, match="percentage 0"):
        Calibrator(model(), CalibrationMethod.PERCENTILE_ASYM, percentage=0)


def test_nothing_collected_is_a_runtime_error() -> None:
    calibrator = Calibrator(model(), CalibrationMethod.MIN_MAX_ASYM)
    with pytest.raises(RuntimeError, match="call collect_data before compute_range"):
        calibrator.compute_range()
    calibrator.collect_data([])
    with pytest.raises(RuntimeError, match="no calibration data"):
        calibrator.compute_range()


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="10 is not a valid CalibrationMethod"):
        Calibrator(model(), 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([[]], "sample 0 has 0 arrays, expected one for each of the inputs x"),
        ([*samples(1), samples(1)[0] * 2], "sample 1 has 2 arrays"),
        ([[np.zeros((1, 3, 8, 9), np.float32)]], "sample 0: input 'x' has the shape 1x3x8x9"),
        ([[np.zeros((1, 3, 8, 8), complex)]], "input 'x' is complex128, the model takes float32"),
        ([[np.full((1, 3, 8, 8), np.nan)]], "sample 0: the value 'x' has NaN"),
    ],
)
def test_samples_that_do_not_fit_are_told(dataset: Any, message: str) -> None:
    calibrator = Calibrator(model(), CalibrationMethod.MIN_MAX_ASYM)

    def collect_and_compute() -> None:
        calibrator.collect_data(dataset)
        calibrator.compute_range()

    with pytest.raises(QuantizationError, match=message):
        collect_and_compute()


def test_inputs_come_in_their_order() -> None:
    proto = model(", float[1,4,6,6] b", "y = Add(c, b)")
    calibrator = Calibrator(proto, CalibrationMethod.MIN_MAX_ASYM)
    calibrator.collect_data([[*sample, np.full((1, 4, 6, 6), 9)] for sample in samples()])
    assert calibrator.compute_range()["b"] == (0, 9)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_quantize_gives_the_bytes_of_a_qdq_model(as_bytes: bool) -> None:
    calibrator = Calibrator(model(), CalibrationMethod.MIN_MAX_ASYM)
    calibrator.collect_data(samples())
    ranges = json.loads(json.dumps({**calibrator.compute_range(), "unknown": (0, 1)}))
    given = model().SerializeToString() if as_bytes else model()
    found = quantize(given, ranges)
    assert isinstance(found, bytes)
    known = {name: one for name, one in ranges.items() if name not in ("unknown", "c")}
    assert onnx.load_model_from_string(found) == quantize_model(model(), ranges=known)


def test_ranges_that_are_missing_or_none_are_told() -> None:
    with pytest.raises(QuantizationError, match="ranges of x, y"):
        quantize(model(), {})
    with pytest.raises(QuantizationError, match=r"the range of 'x' is \[2, 1\]"):
        quantize(model(), {"x": [2, 1], "y": [0, 1]})


def test_quantized_models_are_refused() -> None:
    quantized = quantize_model(model(), [array for (array,) in samples()])
    with pytest.raises(QuantizationError, match="quantized already"):
        Calibrator(quantized, CalibrationMethod.MIN_MAX_ASYM)
    with pytest.raises(QuantizationError, match="quantized already"):
        quantize(quantized, {})


@pytest.mark.parametrize(
    "code", ["y = Relu(c)", "y = Sigmoid(c)", "y = Transpose<perm=[0,1,3,2]>(c)", "y = Erf(c)"]
)
def test_an_editor_may_come_after_calibration(code: str) -> None:
    calibrator = Calibrator(model(code=code), CalibrationMethod.MIN_MAX_ASYM)
    calibrator.collect_data(samples())
    ranges = calibrator.compute_range()
    proto = model(code=code)
    editor = ModelEditor(proto)
    editor.convert_input_type("x", TensorType.UINT8)
    editor.convert_output_type("y", TensorType.INT8)
    found = onnx.load_model_from_string(quantize(proto, ranges))
    types = [v.type.tensor_type.elem_type for v in (*found.graph.input, *found.graph.output)]
    assert types == [onnx.TensorProto.UINT8, onnx.TensorProto.INT8]
    onnx.checker.check_model(found, full_check=True)
    expected = quantize_model(proto, [array for (array,) in samples()], "min-max")
    assert found.graph == expected.graph

"""The quantizers that are compared: ours with its presets, ONNX Runtime's with its calibrators."""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import onnx
from onnx import version_converter

from benchmarks.accuracy.tasks import Feed
from furiosa_ep.quantization import quantize_model

Quantizer: TypeAlias = Callable[[onnx.ModelProto, Iterable[Feed]], onnx.ModelProto]

CALIBRATORS = ("MinMax", "Entropy", "Percentile")
"""Those of ONNX Runtime's quantize_static."""
PLAIN = "min-max"
"""Our preset that does nothing for accuracy."""
OPSET = 13
"""The first that knows a scale per channel."""


def quantizers(presets: Sequence[str]) -> Mapping[str, Quantizer]:
    """Those for trained models, by the name that reports use."""
    theirs = {f"ORT {name}": partial(by_onnxruntime, calibrator=name) for name in CALIBRATORS}
    return {**theirs, **_by_presets(presets)}


def hard_quantizers(presets: Sequence[str]) -> Mapping[str, Quantizer]:
    """Those for hard cases: presets beside min-max, ONNX Runtime's and ours."""
    plain = partial(by_onnxruntime, calibrator="MinMax")
    return {"ORT MinMax": plain, **_by_presets(dict.fromkeys([PLAIN, *presets]))}


def _by_presets(presets: Iterable[str]) -> Mapping[str, Quantizer]:
    return {preset: partial(by_preset, preset=preset) for preset in presets}


def by_preset(model: onnx.ModelProto, data: Iterable[Feed], preset: str) -> onnx.ModelProto:
    """What `furiosa_ep.quantization.quantize_model` makes."""
    return quantize_model(model, data, preset)


def by_onnxruntime(
    model: onnx.ModelProto, data: Iterable[Feed], calibrator: str
) -> onnx.ModelProto:
    """What `quantize_static` makes: QDQ, uint8 activations, int8 weights.

    A weight has a scale per channel, or one scale where ONNX Runtime fails at that (1.32 does at
    MatMul and Add that it makes a Gemm of).
    """
    feeds = list(data)
    try:
        return _quantize_static(model, feeds, calibrator, per_channel=True)
    except ValueError:
        return _quantize_static(model, feeds, calibrator, per_channel=False)


def _quantize_static(
    model: onnx.ModelProto, feeds: Iterable[Feed], calibrator: str, *, per_channel: bool
) -> onnx.ModelProto:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    with (
        tempfile.TemporaryDirectory(prefix="furiosa-ep-") as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        given, prepared, result = (Path(folder, f"{name}.onnx") for name in ("f", "p", "q"))
        onnx.save(_raised(model), given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)  # that one needs sympy
        quantize_static(
            prepared,
            result,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[calibrator],
        )
        return onnx.load(result)


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as ONNX Runtime's quantizer takes it: opset 13, no initializers among inputs."""
    if next(entry.version for entry in model.opset_import if entry.domain == "") < OPSET:
        model = version_converter.convert_version(model, OPSET)
    constants = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(given)
    model.ir_version = max(model.ir_version, 8)
    return model

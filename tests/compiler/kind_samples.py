"""One well-formed operation of each kind, in a graph of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from furiosa_ep.graph import DeviceGraph, DeviceValue, Residual
from furiosa_ep.program import DType
from tests.compiler.device_graphs import PARAMS, Maker

_WINDOW: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
_BOTH: dict[str, Any] = {"x_params": PARAMS, "y_params": PARAMS}
_EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 3]], np.int32)
_HALVES = np.full((4, 2), 0.5, np.float32)


def sample(kind: str) -> DeviceGraph:
    """A graph whose last operation is of the kind; what it reads are inputs and constants."""
    m = Maker()
    return m.output(_SAMPLES[kind](m))


def _image(m: Maker) -> DeviceValue:
    return m.input(1, 4, 4, 4)


def _residual(m: Maker) -> DeviceValue:
    m.conv(_image(m), 4)
    operation = m.graph.operations[-1]
    operation.inputs.append(_image(m))
    operation.attributes["residual"] = Residual(PARAMS, PARAMS, PARAMS, first=False)
    return operation.output


def _conv_transpose(m: Maker) -> DeviceValue:
    weights, bias = np.ones((4, 3, 2, 2), np.float32), np.ones(3, np.float32)
    return m.emit(
        "ConvTranspose",
        _image(m),
        *map(m.constant, (weights, bias)),
        **_WINDOW,
        output_padding=(0, 0),
        group=1,
        **_BOTH,
    )


_SAMPLES: dict[str, Callable[[Maker], DeviceValue]] = {
    "Quantize": lambda m: m.emit("Quantize", m.input(2, 3, dtype=DType.F32), params=PARAMS),
    "Dequantize": lambda m: m.emit("Dequantize", m.input(2, 3), dtype=DType.F32, params=PARAMS),
    "Lookup": lambda m: m.lookup(_image(m), 1),
    "Conv": _residual,
    "ConvTranspose": _conv_transpose,
    "MatMul": lambda m: m.emit(
        "MatMul",
        m.input(2, 3),
        m.input(3, 5),
        a_zero_point=1,
        b_zero_point=2,
        y_zero_point=3,
        multiplier=np.float32(0.1),
    ),
    "Add": lambda m: m.add(m.input(2, 3), m.input(3)),
    "Mul": lambda m: m.mul(m.input(2, 3), m.input(3)),
    "Expression": lambda m: m.emit(
        "Expression",
        m.input(2, 3),
        m.input(3, dtype=DType.F32),
        params=(PARAMS, None),
        y_params=PARAMS,
        code=((0, 0), (0, 1), (2, 0)),
    ),
    "MaxPool": lambda m: m.max_pool(_image(m)),
    "AveragePool": lambda m: m.emit(
        "AveragePool",
        _image(m),
        shape=(1, 4, 3, 3),
        kernel=(2, 2),
        **_WINDOW,
        count_include_pad=0,
        **_BOTH,
    ),
    "GlobalAveragePool": lambda m: m.emit("GlobalAveragePool", _image(m), **_BOTH),
    "Reduce": lambda m: m.emit(
        "Reduce", _image(m), reduction="mean", axes=(2, -1), keepdims=True, **_BOTH
    ),
    "Softmax": lambda m: m.emit("Softmax", m.input(2, 3), axis=-1, precision=64, **_BOTH),
    "LpNormalization": lambda m: m.emit("LpNormalization", m.input(2, 3), axis=1, p=2, **_BOTH),
    "ResizeNearest": lambda m: m.emit(
        "ResizeNearest", _image(m), rows=_EDGES[:, 0], columns=_EDGES[:2, 1]
    ),
    "ResizeLinear": lambda m: m.emit(
        "ResizeLinear",
        _image(m),
        rows=_EDGES,
        row_weights=_HALVES,
        columns=_EDGES,
        column_weights=_HALVES,
        variant="float",
        **_BOTH,
    ),
    "Gather": lambda m: m.emit("Gather", m.input(2, 3), axis=1, indices=np.array([[2, 0]])),
    "Reshape": lambda m: m.reshape(m.input(2, 3), 6),
    "Expand": lambda m: m.emit("Expand", m.input(2, 1), shape=(2, 3)),
    "Transpose": lambda m: m.transpose(m.input(2, 3), 1, 0),
    "Slice": lambda m: m.slice(m.input(2, 3), 1, 1, 2),
    "Concat": lambda m: m.concat(m.input(2, 3), m.input(2, 1), axis=1),
    "Pad": lambda m: m.pad(m.input(2, 3), (0, 1, 0, 1)),
    "Call": lambda m: m.blend(m.input(2, 3)),
}

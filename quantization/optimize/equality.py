"""Whether two models compute the same, on random inputs."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.copies import Runner
from furiosa_ep.quantization.optimize.shapes import ANY
from furiosa_ep.quantization.samples import Feed

TOLERANCE = {np.dtype(np.float16): 1e-2, np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-3}
"""How far float outputs may be apart, as a part of the range of the output: a quarter of a step of
8 bits. Folded weights are rounded once more, and a steep function behind them can make 4e-5 of it
(measured on PP-OCR's detector)."""
UNEQUAL = 0.01
"""How many of the elements of other outputs may differ, as a part of all: what is nearly a tie can
be decided otherwise."""

ROUNDING = 4
"""How many steps of a number near 1 outputs may be apart anyway: Sigmoid has an error of that size,
however near to 0 its result is."""

LENGTHS = ((2, 32), (1, 32), (1, 48), (1, 64), (1, 128), (1, 224), (1, 8), (1, 1))
"""What is tried as length of open dims: of the first and of all others."""
LONG_RUN = 2.0
"""After a run of so many seconds there is no second one."""

Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """What a model computes of some inputs."""

    feeds: Sequence[Feed]
    outputs: Sequence[Sequence[Any]]
    names: Sequence[str]

    def difference(self, model: onnx.ModelProto) -> str | None:
        """Where another model computes something else, or None."""
        try:
            runner = Runner(model)
            results = [runner.run(feed) for feed in self.feeds]
        except Exception as error:  # onnxruntime's exceptions have no common base
            return f"ONNX Runtime fails: {error}"
        for expected, actual in zip(self.outputs, results, strict=True):
            for name, first, second in zip(self.names, expected, actual, strict=True):
                found = _difference(first, second)
                if found:
                    return f"output {name!r} {found}"
        return None


def reference(model: onnx.ModelProto) -> Reference | None:
    """Random inputs of the model and its outputs, or None where it runs with none of them.

    Floats are normally distributed, in a second run between 0 and 1; integers are 0 and 1.

    Raises:
        QuantizationError: where ONNX Runtime does not take the model.
    """
    try:
        runner = Runner(model)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise QuantizationError(f"ONNX Runtime does not take the model: {error}") from error
    feeds: list[Feed] = []
    outputs = []
    for shapes in _shapes(model):
        started = time.monotonic()
        for draw in (np.random.Generator.standard_normal, np.random.Generator.random):
            feed = _feed(model, shapes, draw)
            if feed is None:
                return None
            try:
                outputs.append(runner.run(feed))
            except Exception as error:
                _log.debug("the model does not take inputs of %s: %s", shapes, error)
                break
            feeds.append(feed)
            if time.monotonic() - started > LONG_RUN:
                break
        if feeds:
            return Reference(feeds, outputs, [value.name for value in model.graph.output])
    return None


def _shapes(model: onnx.ModelProto) -> list[dict[str, tuple[int, ...]]]:
    """Shapes of all inputs, with several lengths of the dims that are open."""
    found: list[dict[str, tuple[int, ...]]] = []
    for first, other in LENGTHS:
        lengths: dict[str, int] = {}
        shapes = {}
        for value in model.graph.input:
            shape = []
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                length = other if axis else first
                if dim.HasField("dim_value"):
                    length = dim.dim_value
                elif dim.dim_param not in ("", ANY):
                    length = lengths.setdefault(dim.dim_param, length)
                shape.append(length)
            shapes[value.name] = tuple(shape)
        if shapes not in found:
            found.append(shapes)
    return found


def _feed(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], draw: Draw) -> Feed | None:
    """Random inputs, or None where the model takes something else than numbers."""
    random = np.random.default_rng(0)
    feed = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        if not tensor.elem_type or not tensor.HasField("shape"):
            return None
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype.kind not in "biuf":
            return None
        shape = shapes[value.name]
        array = draw(random, shape) if dtype.kind == "f" else random.integers(0, 2, shape)
        feed[value.name] = np.asarray(array).astype(dtype)
    return feed


def _difference(expected: Any, actual: Any) -> str | None:
    if not isinstance(expected, np.ndarray) or not isinstance(actual, np.ndarray):
        return None
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return (
            f"is {actual.dtype} {list(actual.shape)} instead of "
            f"{expected.dtype} {list(expected.shape)}"
        )
    if expected.dtype not in TOLERANCE:
        share = np.mean(expected != actual) if expected.size else 0.0
        return f"differs in {share:.1%} of its elements" if share > UNEQUAL else None
    first, second = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(invalid="ignore"):
        equal = (first == second) | (np.isnan(first) & np.isnan(second))
        apart = np.where(equal, 0.0, np.abs(first - second)).max(initial=0)
    finite = first[np.isfinite(first)]
    extent = finite.max(initial=0) - finite.min(initial=0)
    rounding = ROUNDING * float(np.finfo(expected.dtype).eps)
    if apart <= TOLERANCE[expected.dtype] * extent + rounding:
        return None
    return f"differs by {apart:.3g}, and ranges over {extent:.3g}"

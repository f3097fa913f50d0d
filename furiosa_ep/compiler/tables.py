"""Tables of functions of one 8-bit value, evaluated by ONNX Runtime's CPU provider.

The tables of a partition are one model with an input and outputs per unit, evaluated in one session
when the first of them is read. Results are kept by content, so that equal units, of other sessions
too, are evaluated once in a process.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.graph import DeviceValue, Graph, Table
from furiosa_ep.partitioner.support import NodeUnit

Bytes = npt.NDArray[np.uint8]
CODES = 256
CACHE_BYTES = 32 << 20
_IR_VERSION = 8


def flip(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """int8 as the device stores it: uint8 with the top bit flipped; other arrays as they are."""
    if array.dtype == np.int8:
        return np.asarray(array.view(np.uint8) ^ np.uint8(0x80))
    return array


@dataclass(eq=False)
class _Request:
    """A unit to evaluate."""

    label: str
    key: bytes
    """Opsets, the unit's nodes and constants, the codes' shape: what the result depends on."""
    graph: onnx.GraphProto
    """The unit alone, from "x" to "y0", "y1"..."""
    codes: npt.NDArray[Any]
    """What "x" is: every code along `axis`, for every channel."""
    axis: int
    channels: int | None
    results: tuple[Bytes, ...] | None = None


class TableSet:
    """The tables of one partition."""

    def __init__(self, graph: Graph, constant: Callable[[str], npt.NDArray[Any] | None]) -> None:
        """`constant` gives the arrays of values that are known at compile time."""
        self._graph = graph
        self._constant = constant
        self._pending: list[_Request] = []

    def add(
        self,
        unit: NodeUnit,
        values: Mapping[str, DeviceValue],
        channel_axis: int | None,
        output: int,
    ) -> Table:
        """The table of one output of a unit that is a function of one 8-bit value."""
        request = self._request(unit, values, channel_axis)
        request.results = _CACHE.get(request.key)
        if request.results is None:
            self._pending.append(request)

        def fill() -> Bytes:
            if request.results is None:
                pending, self._pending = self._pending, []
                _evaluate(pending, self._graph)
            if request.results is None:
                raise InternalError(f"unit {unit.label!r}: its table was never evaluated")
            return request.results[output]

        return Table(fill, channel_axis)

    def _request(
        self, unit: NodeUnit, values: Mapping[str, DeviceValue], channel_axis: int | None
    ) -> _Request:
        proto = onnx.GraphProto(name="unit")
        names = {"": ""}
        inside = {name for node in unit.nodes for name in node.outputs}
        inputs = set()
        for position, name in enumerate(one.name for one in unit.outputs if one.name):
            names[name] = f"y{position}"
            proto.output.add(name=f"y{position}").type.tensor_type.elem_type = (
                self._graph.dtype(name) or onnx.TensorProto.UINT8
            )
        for node in unit.nodes:
            for name in node.inputs:
                if name in names or name in inside:
                    continue
                array = self._constant(name)
                if array is None:
                    names[name] = "x"
                    inputs.add(name)
                else:
                    names[name] = f"c{len(names)}"
                    proto.initializer.append(numpy_helper.from_array(array, names[name]))
        for node in unit.nodes:
            copy = proto.node.add()
            copy.CopyFrom(node.proto)
            copy.name = ""
            del copy.input[:], copy.output[:]
            copy.input.extend(names[name] for name in node.inputs)
            copy.output.extend(names.setdefault(name, f"v{len(names)}") for name in node.outputs)
        if len(inputs) != 1:
            raise InternalError(f"unit {unit.label!r} depends on {sorted(inputs)}: no table")
        (source,) = inputs
        value = values[source]
        channels = None if channel_axis is None else value.shape[channel_axis]
        codes, axis = _codes(len(value.shape), channel_axis, channels, value.signed)
        proto.input.append(
            onnx.helper.make_tensor_value_info(
                "x", onnx.helper.np_dtype_to_tensor_dtype(codes.dtype), codes.shape
            )
        )
        opsets = repr(sorted(self._graph.opsets.items())).encode()
        key = opsets + proto.SerializeToString(deterministic=True)
        return _Request(unit.label, key, proto, codes, axis, channels)


def _codes(
    rank: int, channel_axis: int | None, channels: int | None, signed: bool
) -> tuple[npt.NDArray[Any], int]:
    """All codes, in the order of their stored bytes, and the axis that they lie along.

    They have the dims of a value of `rank` that broadcasts as the real one, or one dim more.
    """
    stored = np.arange(CODES, dtype=np.uint8)
    codes: npt.NDArray[Any] = flip_back(stored) if signed else stored
    if channel_axis is None or channels is None:
        return codes.reshape(CODES, *(1,) * max(0, rank - 1)), 0
    if rank == 1:
        return np.repeat(codes[:, None], channels, 1), 0
    channel_axis %= rank
    axis = 0 if channel_axis else rank - 1
    shape = [1] * rank
    shape[axis] = CODES
    return np.repeat(codes.reshape(shape), channels, channel_axis), axis


def flip_back(stored: Bytes) -> npt.NDArray[np.int8]:
    """Stored bytes as the int8 values that they stand for."""
    return (stored ^ np.uint8(0x80)).view(np.int8)


def _evaluate(requests: Sequence[_Request], graph: Graph) -> None:
    """Fill in the results of all requests with one session, or find the one that fails."""
    distinct = list({request.key: request for request in requests}.values())
    try:
        found = dict(zip((one.key for one in distinct), _run(distinct, graph), strict=True))
    except Exception as error:
        if len(requests) > 1:
            for request in requests:
                _evaluate([request], graph)
            return
        raise CompileError(
            f"unit {requests[0].label!r}: ONNX Runtime's CPU provider cannot evaluate it: {error}"
        ) from error
    for request in requests:
        request.results = found[request.key]
        _CACHE.put(request.key, request.results)


def _run(requests: Sequence[_Request], graph: Graph) -> Iterable[tuple[Bytes, ...]]:
    import onnxruntime as ort

    model = onnx.ModelProto(ir_version=_IR_VERSION)
    model.graph.name = "tables"
    for domain, version in graph.opsets.items():
        model.opset_import.add(domain=domain, version=version)
    for position, request in enumerate(requests):
        prefixed = onnx.compose.add_prefix_graph(request.graph, f"{position}/")
        for field in ("node", "initializer", "input", "output"):
            getattr(model.graph, field).extend(getattr(prefixed, field))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {f"{i}/x": request.codes for i, request in enumerate(requests)}
    outputs = dict(
        zip((one.name for one in model.graph.output), session.run(None, feeds), strict=True)
    )
    for position, request in enumerate(requests):
        yield tuple(
            _table(np.asarray(outputs[f"{position}/{one.name}"]), request)
            for one in request.graph.output
        )


def _table(result: npt.NDArray[Any], request: _Request) -> Bytes:
    stored = flip(result)
    if stored.dtype != np.uint8 or stored.size != request.codes.size:
        raise ValueError(
            f"the result is {result.dtype} {list(result.shape)} for {list(request.codes.shape)} "
            "codes: expected one byte for each"
        )
    if request.channels is None:
        return stored.reshape(CODES)
    codes_last = np.moveaxis(stored.reshape(request.codes.shape), request.axis, -1)
    return np.ascontiguousarray(codes_last.reshape(request.channels, CODES))


class _Cache:
    """Results by key, the least recently used ones forgotten above a number of bytes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._size = 0
        self._entries: OrderedDict[bytes, tuple[Bytes, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> tuple[Bytes, ...] | None:
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: bytes, results: tuple[Bytes, ...]) -> None:
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = results
            self._size += len(key) + sum(one.nbytes for one in results)
            while self._size > self._capacity and len(self._entries) > 1:
                old, forgotten = self._entries.popitem(last=False)
                self._size -= len(old) + sum(one.nbytes for one in forgotten)


_CACHE = _Cache(CACHE_BYTES)

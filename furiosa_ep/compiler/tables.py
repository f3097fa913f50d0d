"""Tables of functions of one 8-bit value, evaluated by ONNX Runtime's CPU provider.

The tables of a partition are one model with an input and outputs per unit, evaluated in one session
(in several, where they are many) when the first of them is read. Results are kept by content, so
that equal units, of other sessions too, are evaluated once in a process.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.device_emulator.library import library_path
from furiosa_ep.graph import DeviceValue, ElementType, Graph, Node, Table
from furiosa_ep.graph.element_type import NUMPY_DTYPES
from furiosa_ep.graph.protobuf import bytes_field, fields, integer_field, text, view
from furiosa_ep.graph.tensor import tensor_message
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.support import NodeUnit

Bytes = npt.NDArray[np.uint8]
CODES = 256
CACHE_BYTES = 32 << 20
UNITS_PER_SESSION = 128
"""ONNX Runtime takes more than twice the time to create a session of twice as many nodes."""
_IR_VERSION = 8
_ELEMENT_TYPES = {dtype: ElementType(number) for number, dtype in NUMPY_DTYPES.items()}


def flip(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """int8 as the device stores it: uint8 with the top bit flipped; other arrays as they are."""
    if array.dtype == np.int8:
        return np.asarray(array.view(np.uint8) ^ np.uint8(0x80))
    return array


@dataclass(frozen=True)
class _Unit:
    """A unit as a graph from "x" to "y0", "y1"...: what its table depends on."""

    opsets: bytes
    """As fields of a ModelProto."""
    nodes: tuple[tuple[tuple[str, ...], tuple[str, ...], bytes], ...]
    """Of each the inputs, the outputs, and the other fields of its NodeProto but its name."""
    constants: tuple[tuple[str, bytes, tuple[int, ...], ElementType], ...]
    """Name, elements, shape and type."""
    outputs: tuple[ElementType, ...]
    shape: tuple[int, ...]
    """Of "x"."""
    signed: bool

    def message(self, prefix: str) -> bytes:
        """Fields of a GraphProto: all of the unit, with a prefix on every name."""

        def named(name: str) -> str:
            return name and prefix + name

        parts = []
        for inputs, outputs, rest in self.nodes:
            names = [bytes_field(1, named(one)) for one in inputs]
            names += [bytes_field(2, named(one)) for one in outputs]
            parts.append(bytes_field(1, b"".join((*names, rest))))
        for name, elements, shape, dtype in self.constants:
            parts.append(bytes_field(5, tensor_message(elements, named(name), shape, dtype)))
        dtype = ElementType.INT8 if self.signed else ElementType.UINT8
        parts.append(bytes_field(11, _value_info(named("x"), dtype, self.shape)))
        parts += [
            bytes_field(12, _value_info(named(f"y{position}"), dtype))
            for position, dtype in enumerate(self.outputs)
        ]
        return b"".join(parts)


@dataclass(eq=False)
class _Request:
    """A unit to evaluate."""

    label: str
    unit: _Unit
    key: bytes
    """What the result depends on: the unit in any model."""
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
                _evaluate(pending)
            if request.results is None:
                raise InternalError(f"unit {unit.label!r}: its table was never evaluated")
            return request.results[output]

        return Table(fill, channel_axis)

    def _request(
        self, unit: NodeUnit, values: Mapping[str, DeviceValue], channel_axis: int | None
    ) -> _Request:
        names = {"": ""}
        inside = {name for node in unit.nodes for name in node.outputs}
        outputs = [one.name for one in unit.outputs if one.name]
        names.update((name, f"y{position}") for position, name in enumerate(outputs))
        inputs = set()
        constants = []
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
                    dtype = _ELEMENT_TYPES[array.dtype]
                    constants.append((names[name], array.tobytes(), array.shape, dtype))
        if len(inputs) != 1:
            raise InternalError(f"unit {unit.label!r} depends on {sorted(inputs)}: no table")
        for node in unit.nodes:
            for name in node.outputs:
                names.setdefault(name, f"v{len(names)}")
        (source,) = inputs
        value = values[source]
        channels = None if channel_axis is None else value.shape[channel_axis]
        codes, axis = _codes(len(value.shape), channel_axis, channels, value.signed)
        alone = _Unit(
            b"".join(_opset(*one) for one in sorted(self._graph.opsets.items())),
            tuple(
                (
                    tuple(names[name] for name in node.inputs),
                    tuple(names[name] for name in node.outputs),
                    _function(node),
                )
                for node in unit.nodes
            ),
            tuple(constants),
            tuple(ElementType(self._graph.dtype(name) or ElementType.UINT8) for name in outputs),
            codes.shape,
            value.signed,
        )
        return _Request(unit.label, alone, alone.opsets + alone.message(""), codes, axis, channels)


def _opset(domain: str, version: int) -> bytes:
    return bytes_field(8, bytes_field(1, domain) + integer_field(2, version))


def _function(node: Node) -> bytes:
    """The fields of a NodeProto that say what the node computes: type, attributes and domain."""
    return b"".join(
        bytes_field(at, view(value)) for at, value in fields(node.message) if at in (4, 5, 7)
    )


def _value_info(name: str, dtype: ElementType, shape: tuple[int, ...] | None = None) -> bytes:
    tensor = integer_field(1, dtype)
    if shape is not None:
        dims = (bytes_field(1, integer_field(1, dim)) for dim in shape)
        tensor += bytes_field(2, b"".join(dims))
    return bytes_field(1, name) + bytes_field(2, bytes_field(1, tensor))


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


def _evaluate(requests: Sequence[_Request]) -> None:
    """Fill in the results of all requests with few sessions, or find the one that fails."""
    distinct = list({request.key: request for request in requests}.values())
    found: dict[bytes, tuple[Bytes, ...]] = {}
    try:
        for start in range(0, len(distinct), UNITS_PER_SESSION):
            some = distinct[start : start + UNITS_PER_SESSION]
            found.update(zip((one.key for one in some), _run(some), strict=True))
    except Exception as error:
        if len(requests) > 1:
            for request in requests:
                _evaluate([request])
            return
        raise CompileError(
            f"unit {requests[0].label!r}: ONNX Runtime's CPU provider cannot evaluate it: {error}"
        ) from error
    for request in requests:
        request.results = found[request.key]
        _CACHE.put(request.key, request.results)


def _run(requests: Sequence[_Request]) -> Iterable[tuple[Bytes, ...]]:
    import onnxruntime as ort

    parts = [request.unit.message(f"{i}/") for i, request in enumerate(requests)]
    graph = bytes_field(7, b"".join((bytes_field(2, "tables"), *parts)))
    model = integer_field(1, _IR_VERSION) + graph + requests[0].unit.opsets
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if _has_operators_of_plugins(requests):
        options.register_custom_ops_library(str(library_path()))
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {f"{i}/x": request.codes for i, request in enumerate(requests)}
    names = [one.name for one in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, feeds), strict=True))
    for i, request in enumerate(requests):
        yield tuple(
            _table(np.asarray(outputs[f"{i}/y{position}"]), request)
            for position in range(len(request.unit.outputs))
        )


def _has_operators_of_plugins(requests: Iterable[_Request]) -> bool:
    """Whether ONNX Runtime knows some of the operators from plugins only."""
    schemas = registry().named("furiosa_schemas")
    if not schemas:
        return False
    functions = {node[-1] for request in requests for node in request.unit.nodes}
    domains = {text(value) for one in functions for at, value in fields(one) if at == 7}
    return any(schema.domain in domains for schema in schemas.values())


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

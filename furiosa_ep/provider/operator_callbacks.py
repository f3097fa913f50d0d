"""What the native provider calls for the operators of plugins' own domains.

ONNX Runtime gets their schemas, and `Schema.compute` runs the nodes that the NPU does not take.
"""

import ctypes
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from furiosa_ep.partitioner.partition import is_deciding_only
from furiosa_ep.partitioner.schema import ATTRIBUTE_TYPES, Schema
from furiosa_ep.provider.callbacks import OperatorError, RefusedError
from furiosa_ep.provider.operator_records import (
    Array,
    NodeRecord,
    OperatorRecord,
    TensorRecord,
    Unexpected,
    numpy_type,
    operator_records,
    read_arrays,
    read_attributes,
    read_shapes,
    tensor_record,
)

if TYPE_CHECKING:
    from furiosa_ep.partitioner.report import Report

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kernel:
    """A node of an operator on the CPU."""

    schema: Schema
    label: str
    attributes: Mapping[str, Any]
    outputs: Sequence[tuple[str, int]]
    """Names, "" for one that is not wanted, and element types."""

    @property
    def title(self) -> str:
        return f"{_title(self.schema)}, node {self.label!r}"


class OperatorCallbacks:
    """The functions behind `operators`, `infer`, `create_kernel` and `compute`.

    Made where a plugin has schemas, as it takes a moment to load.
    """

    def __init__(self, library: ctypes.CDLL, handles: Iterator[int]) -> None:
        self._reply_operator = library.furiosa_reply_operator
        self._reply_operator.argtypes = [ctypes.c_void_p, ctypes.POINTER(OperatorRecord)]
        self._reply_operator.restype = ctypes.c_int32
        self._reply_output = library.furiosa_reply_output
        self._reply_output.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.POINTER(TensorRecord),
            ctypes.POINTER(ctypes.c_void_p),
        ]
        self._reply_output.restype = ctypes.c_int32
        self._handles = handles
        self._generation = 0
        self._listed: Mapping[str, Schema] = {}
        self._schemas: dict[int, Schema] = {}
        self._kernels: dict[int, _Kernel] = {}
        self._declined: dict[int, dict[str, str]] = {}
        """By session, and there by the first output of a node, why the NPU does not take it."""

    def list(self, schemas: Mapping[str, Schema], generation: Any, reply: int) -> None:
        """Give the operators of plugins, unless they are those of `generation`."""
        if schemas is not self._listed:
            self._generation = next(self._handles)
            self._listed = schemas
        if generation[0] == self._generation:
            return
        generation[0] = self._generation
        for schema in schemas.values():
            handle = next(self._handles)
            self._schemas[handle] = schema
            for record in operator_records(schema, handle):
                if self._reply_operator(reply, record):
                    raise RefusedError

    def infer(
        self,
        one: int,
        inputs: int | None,
        input_count: int,
        attributes: int | None,
        attribute_count: int,
        reply: int,
    ) -> None:
        """Give the shapes of a node's outputs; where that fails they stay unknown."""
        schema = self._schemas[one]
        if schema.shape is None:
            return
        try:
            shapes = read_shapes(inputs, input_count)
            found = schema.shape(shapes, read_attributes(attributes, attribute_count))
            records = [tensor_record(shape) for shape in found]
        except Exception as error:
            _log.warning(
                "%s: shape failed, so nothing is known of the outputs: %s",
                _title(schema),
                _said(error),
            )
            return
        for index, record in enumerate(records):
            self._output(reply, index, record)

    def create_kernel(self, one: int, node: int, session: int, kernel: Any, _reply: int) -> None:
        """Make what runs a node on the CPU.

        Raises:
            OperatorError: where it cannot run there.
        """
        schema, record = self._schemas[one], NodeRecord.from_address(node)
        outputs = [
            (record.outputs[index].decode(), record.output_dtypes[index])
            for index in range(record.output_count)
        ]
        first = next((name for name, _ in outputs if name), "")
        label = record.name.decode() or f"{schema.op_type}({first})"
        if schema.compute is None and not is_deciding_only():
            raise OperatorError(
                f"{_title(schema)} runs on the NPU only, {self._why_not(session, label, first)}"
            )
        attributes = MappingProxyType(read_attributes(record.attributes, record.attribute_count))
        made = _Kernel(schema, label, attributes, outputs)
        _check_attributes(made)
        kernel[0] = handle = next(self._handles)
        self._kernels[handle] = made

    def compute(self, kernel: int, inputs: int | None, count: int, reply: int) -> None:
        """Run a node on the CPU.

        Raises:
            OperatorError: where the plugin's function fails.
        """
        node = self._kernels[kernel]
        if node.schema.compute is None:
            raise OperatorError(f"{node.title}: runs on the NPU only")
        arrays = read_arrays(inputs, count)
        try:
            found = node.schema.compute(arrays, node.attributes)
            results = [found] if isinstance(found, np.ndarray | np.generic) else list(found)
        except Exception as error:
            raise OperatorError(f"{node.title}: compute failed: {_said(error)}") from error
        results += [None] * (len(node.outputs) - len(results))
        for index, ((name, dtype), result) in enumerate(zip(node.outputs, results, strict=False)):
            if name:
                array = _checked(result, dtype, f"{node.title}: output {name!r}")
                self._send_output(reply, index, array, dtype)

    def note(self, session: int, report: "Report", schemas: Mapping[str, Schema]) -> None:
        """Remember why the NPU does not take nodes of plugins' operators."""
        domains = {schema.domain for schema in schemas.values()}
        declined = self._declined.setdefault(session, {})
        for unit in report.units:
            for node in unit.nodes:
                if node.domain in domains and unit.decline is not None:
                    first = next(filter(None, node.outputs), "")
                    declined[first] = f"{unit.decline.code}: {unit.decline.reason}"

    def release(self, handle: int) -> None:
        """Forget a kernel, or what is known of a session."""
        self._kernels.pop(handle, None)
        self._declined.pop(handle, None)

    def _why_not(self, session: int, label: str, output: str) -> str:
        if not session:
            return f"and the session of node {label!r} has no FuriosaProvider"
        reason = self._declined.get(session, {}).get(output, "")
        return f"which does not take node {label!r}{reason and ': '}{reason}"

    def _send_output(self, reply: int, index: int, array: Array, dtype: int) -> None:
        data = self._output(reply, index, tensor_record(array.shape, dtype))
        if data and array.nbytes:
            memory = memoryview((ctypes.c_char * array.nbytes).from_address(data))
            np.frombuffer(memory, array.dtype).reshape(array.shape)[...] = array

    def _output(self, reply: int, index: int, record: TensorRecord) -> int | None:
        data = ctypes.c_void_p()
        if self._reply_output(reply, index, record, ctypes.byref(data)):
            raise RefusedError
        return data.value


def _check_attributes(node: _Kernel) -> None:
    names = {number: name for name, number in ATTRIBUTE_TYPES.items()}
    for one in node.schema.attribute_list:
        found = node.attributes.get(one.name)
        if isinstance(found, Unexpected):
            raise OperatorError(
                f"{node.title}: attribute {one.name!r} must be of type {names[one.type]}, it is "
                f"{names.get(found.type, 'of another')}"
            )
        if found is None and not one.optional:
            raise OperatorError(f"{node.title}: attribute {one.name!r} is missing")


def _checked(result: Any, dtype: int, where: str) -> Array:
    """The array of an output, which must have the type that it has in the model."""
    if result is None:
        raise OperatorError(f"{where} was not computed")
    array = np.asarray(result)
    if array.dtype != numpy_type(dtype):
        raise OperatorError(f"{where} must be {numpy_type(dtype)}, compute gave {array.dtype}")
    return array


def _title(schema: Schema) -> str:
    return f"operator {schema.name} of plugin {schema.owner!r}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

"""The kernels of plugins: registering them with the native executor, and calling them directly."""

import ctypes
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from furiosa_ep.device_emulator.kernel_records import (
    HOLDS_GIL,
    KERNEL_FUNCTION,
    KERNEL_VERSION,
    PARALLEL_FOR,
    STRIDED,
    AttributeRecord,
    FrameRecord,
    KernelRecord,
    TensorRecord,
    kernel_tensor,
    tensor_record,
)
from furiosa_ep.device_emulator.library import last_error, load_library
from furiosa_ep.kernels.kernel import ISAS, Kernel, KernelFrame, KernelTensor, NativeKernel
from furiosa_ep.program import CallValues
from furiosa_ep.program.program import ALIGNMENT

_ERROR_SIZE = 1024
_FOREIGN: Mapping[str, frozenset[str]] = {
    "x86_64": frozenset({"neon"}),
    "aarch64": frozenset(ISAS) - {"scalar", "neon"},
}
"""The instruction sets of other machines, by the name of the machine."""

Array = npt.NDArray[Any]


class KernelError(RuntimeError):
    """A kernel that cannot be registered or called, or that failed; says which one and why."""


class _Registration(NamedTuple):
    kernel: Kernel
    plugin: str
    records: tuple[KernelRecord, ...]
    """What was registered; holds the functions."""


_registered: dict[str, _Registration] = {}
_lock = threading.Lock()


def register_kernel(kernel: Kernel, plugin: str = "") -> None:
    """Make a kernel known to Programs that are loaded from now on.

    Its native functions are loaded, but for those of another machine. Where none of them is for
    every machine, the NumPy reference is what runs on a machine that lacks their instruction sets;
    it takes Python's GIL.

    Args:
        kernel: a kernel; nothing happens where it is registered already.
        plugin: the name of its plugin, for errors; `kernel.owner` by default.

    Raises:
        KernelError: where a library or a symbol is missing, or the opcode is another kernel's.
    """
    plugin = plugin or kernel.owner
    with _lock:
        known = _registered.get(kernel.opcode)
        if known is not None and (known.kernel, known.plugin) == (kernel, plugin):
            return
        try:
            records = tuple(_records(kernel, plugin))
        except KernelError as error:
            raise KernelError(f"plugin {plugin!r}, kernel {kernel.opcode!r}: {error}") from error
        for done, record in enumerate(records):
            try:
                _native("furiosa_kernel_register", record)
            except KernelError:
                for earlier in records[:done]:
                    _native("furiosa_kernel_unregister", earlier)
                raise
        _registered[kernel.opcode] = _Registration(kernel, plugin, records)


def unregister_kernel(opcode: str) -> None:
    """Forget a kernel.

    Raises:
        KernelError: where there is none, or a Program that is loaded calls it.
    """
    with _lock:
        registration = _found(opcode)
        for done, record in enumerate(registration.records):
            try:
                _native("furiosa_kernel_unregister", record)
            except KernelError:
                for earlier in registration.records[:done]:
                    _native("furiosa_kernel_register", earlier)
                raise
        del _registered[opcode]


def registered_kernel(opcode: str) -> Kernel:
    """The kernel that was registered with an opcode.

    Raises:
        KernelError: where there is none.
    """
    with _lock:
        return _found(opcode).kernel


def call_kernel(
    kernel: Kernel,
    native: NativeKernel,
    frame: KernelFrame,
    workspace: npt.NDArray[np.uint8] | None = None,
) -> None:
    """Call one native function of a kernel on the arrays of a frame.

    The frame is handed over as it is: neither its shapes nor its strides are checked. Tasks of
    parallel_for run one after the other, the last one first.

    Args:
        kernel: what the function computes.
        native: the function.
        frame: the operands, and the result that it writes.
        workspace: its working memory; by default as much as the kernel asks for.

    Raises:
        KernelError: where the function cannot be loaded or fails; has its text.
    """
    function = native_function(native)
    if workspace is None:
        shapes = [None if one is None else one.array.shape for one in (*frame.inputs, frame.output)]
        workspace = _aligned(kernel.workspace_size(shapes))
    names = kernel.attribute_names
    attributes = (AttributeRecord * len(names))()
    for attribute, (name, real) in zip(attributes, names.items(), strict=True):
        setattr(attribute, "real" if real else "integer", frame.attributes[name])
    inputs = (TensorRecord * len(frame.inputs))(*map(tensor_record, frame.inputs))
    outputs = (TensorRecord * 1)(tensor_record(frame.output))
    error = ctypes.create_string_buffer(_ERROR_SIZE)
    record = FrameRecord(
        version=KERNEL_VERSION,
        size=ctypes.sizeof(FrameRecord),
        inputs=inputs,
        input_count=len(inputs),
        outputs=outputs,
        output_count=len(outputs),
        attributes=attributes,
        attribute_count=len(attributes),
        workspace=workspace.ctypes.data,
        workspace_size=workspace.nbytes,
        error=ctypes.addressof(error),
        error_size=_ERROR_SIZE,
        parallel_for=PARALLEL_FOR(_in_turn),
        concurrency=1,
    )
    status = function(ctypes.byref(record))
    text = error.value.decode(errors="replace")
    if status or text:
        raise KernelError(f"kernel {kernel.opcode!r}: {text or f'it returned {status}'}")


def native_function(native: NativeKernel) -> Any:
    """A native function as `kernel_records.KERNEL_FUNCTION`; stays loaded.

    Raises:
        KernelError: where there is no such library or symbol.
    """
    if native.address:
        return KERNEL_FUNCTION(native.address)
    path = Path(native.library)
    if not path.is_file():
        raise KernelError(f"no library {path}")
    try:
        library = ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise KernelError(f"library {path}: {error}") from error
    try:
        symbol = getattr(library, native.symbol)
    except AttributeError as error:
        raise KernelError(f"library {path} has no symbol {native.symbol!r}") from error
    return ctypes.cast(symbol, KERNEL_FUNCTION)


def call_reference(
    kernel: Kernel, values: Sequence[int], inputs: Sequence[Array | None], output: Array
) -> None:
    """Call a kernel's NumPy reference as a CALL command with these `values` does."""
    read = CallValues.from_words(values, list(kernel.attribute_names.values()))
    tensors = [
        None if array is None else KernelTensor(array, np.float32(scale), zero_point)
        for array, (scale, zero_point) in zip((*inputs, output), read.quantization, strict=True)
    ]
    attributes = dict(zip(kernel.attribute_names, read.attributes, strict=True))
    _call_reference(kernel, tensors, attributes)


def _call_reference(
    kernel: Kernel, tensors: Sequence[KernelTensor | None], attributes: Mapping[str, int | float]
) -> None:
    *inputs, output = tensors
    if output is None:
        raise KernelError(f"kernel {kernel.opcode!r} is called without a result")
    frozen = tuple(None if one is None else _read_only(one) for one in inputs)
    kernel.reference(KernelFrame(frozen, output, MappingProxyType(dict(attributes))))


def _read_only(tensor: KernelTensor) -> KernelTensor:
    array = tensor.array.view()
    array.flags.writeable = False
    return tensor._replace(array=array)


def _found(opcode: str) -> _Registration:
    registration = _registered.get(opcode)
    if registration is None:
        raise KernelError(f"no kernel {opcode!r} is registered: install the plugin that has it")
    return registration


def _native(function: str, record: KernelRecord) -> None:
    library = load_library()
    if getattr(library, function)(ctypes.byref(record)):
        raise KernelError(last_error(library))


def _records(kernel: Kernel, plugin: str) -> list[KernelRecord]:
    foreign = _FOREIGN.get(platform.machine(), frozenset())
    flags = STRIDED if kernel.strided else 0
    functions = [
        (one.isa, flags, native_function(one)) for one in kernel.native if one.isa not in foreign
    ]
    if all(isa != "scalar" for isa, *_ in functions):
        functions.append(("scalar", flags | HOLDS_GIL, KERNEL_FUNCTION(_in_python(kernel))))
    *inputs, result = [
        f"{one.name}:{'|'.join(one.dtypes)}{'?' if one.optional else ''}" for one in kernel.schema
    ]
    return [
        KernelRecord(
            size=ctypes.sizeof(KernelRecord),
            version=KERNEL_VERSION,
            plugin=plugin.encode(),
            opcode=kernel.opcode.encode(),
            operands=" ".join([*inputs, "->", result]).encode(),
            attributes=" ".join(
                f"{name}:f" if real else name for name, real in kernel.attribute_names.items()
            ).encode(),
            isa=isa.encode(),
            flags=own,
            run=function,
        )
        for isa, own, function in functions
    ]


def _in_python(kernel: Kernel) -> Callable[[Any], int]:
    """A kernel function that calls the NumPy reference; its memory is the frame's."""
    names = kernel.attribute_names

    def run(pointer: Any) -> int:
        frame: Any = pointer.contents
        try:
            tensors = [kernel_tensor(frame.inputs[i]) for i in range(frame.input_count)]
            attributes = {
                name: frame.attributes[i].real if real else frame.attributes[i].integer
                for i, (name, real) in enumerate(names.items())
            }
            _call_reference(kernel, [*tensors, kernel_tensor(frame.outputs[0])], attributes)
        except BaseException as error:  # has nowhere to go but into the frame
            _set_error(frame, f"{type(error).__name__}: {error}")
            return 1
        return 0

    return run


def _set_error(frame: Any, text: str) -> None:
    encoded = text.encode(errors="replace")[: frame.error_size - 1] + b"\0"
    ctypes.memmove(frame.error, encoded, len(encoded))


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def _in_turn(frame: Any, count: int, task: Any, context: Any) -> None:
    for index in reversed(range(count)):
        task(context, index)

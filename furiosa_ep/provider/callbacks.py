"""What the native provider calls: the partitioner and the compiler, through C function pointers.

Mirrors furiosa_ep/provider/native/compiler_callbacks.h. No exception leaves a callback: its text
goes to the provider, which raises it from the session's creation or its run.
"""

import array
import ctypes
import functools
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from furiosa_ep.options import OptionError, Options

if TYPE_CHECKING:
    from furiosa_ep.compiler.driver import CompiledPartition
    from furiosa_ep.partitioner.registry import Scope
    from furiosa_ep.partitioner.schema import Schema
    from furiosa_ep.provider.operator_callbacks import OperatorCallbacks

COMPILER_VERSION = 5

_log = logging.getLogger(__name__)

_Handle = ctypes.c_uint64
_HandlePointer = ctypes.POINTER(ctypes.c_uint64)
_Shapes = ctypes.POINTER(ctypes.c_int64)
_Strings = ctypes.POINTER(ctypes.c_char_p)


class Settings(ctypes.Structure):
    """FuriosaSettings: what the native provider itself needs of the options."""

    _fields_ = [
        ("program_cache_size", ctypes.c_uint64),
        ("summary_severity", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("run_timeout", ctypes.c_double),
        ("device", ctypes.c_void_p),
    ]


_Open = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    _Strings,
    _Strings,
    ctypes.c_uint64,
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.c_uint64,
    ctypes.POINTER(Settings),
    _HandlePointer,
    ctypes.c_void_p,
)
_Partition = ctypes.CFUNCTYPE(
    ctypes.c_int32, _Handle, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p
)
_Compile = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    _Handle,
    ctypes.c_void_p,
    ctypes.c_uint64,
    _Shapes,
    ctypes.c_uint64,
    _HandlePointer,
    ctypes.c_void_p,
)
_Specialize = ctypes.CFUNCTYPE(ctypes.c_int32, _Handle, _Shapes, ctypes.c_uint64, ctypes.c_void_p)
_Release = ctypes.CFUNCTYPE(None, _Handle)
_Operators = ctypes.CFUNCTYPE(ctypes.c_int32, _HandlePointer, ctypes.c_void_p)
_Infer = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    _Handle,
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.c_void_p,
)
_CreateKernel = ctypes.CFUNCTYPE(
    ctypes.c_int32, _Handle, ctypes.c_void_p, _Handle, _HandlePointer, ctypes.c_void_p
)
_Compute = ctypes.CFUNCTYPE(
    ctypes.c_int32, _Handle, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p
)


class CompilerRecord(ctypes.Structure):
    """FuriosaCompiler: the function pointers."""

    _fields_ = [
        ("version", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("open", _Open),
        ("partition", _Partition),
        ("compile", _Compile),
        ("specialize", _Specialize),
        ("release", _Release),
        ("operators", _Operators),
        ("infer", _Infer),
        ("create_kernel", _CreateKernel),
        ("compute", _Compute),
    ]


_SEVERITIES = {"warning": 2, "info": 1, "off": -1}
"""The summary option as a log severity of ONNX Runtime."""


class RefusedError(Exception):
    """The provider did not accept a reply and knows why itself."""


class OperatorError(Exception):
    """A plugin's operator cannot run on the CPU; the message says why, and needs no type."""


class CompilerCallbacks:
    """The compiler behind function pointers; they are valid as long as this object lives.

    Sessions and partitions are handles for the native side, objects here.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._reply_bytes = library.furiosa_reply_bytes
        self._reply_bytes.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64]
        self._reply_bytes.restype = ctypes.c_int32
        self._reply_constants = library.furiosa_reply_constants
        self._reply_constants.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        self._reply_constants.restype = ctypes.c_void_p
        self._reply_text = library.furiosa_reply_text
        self._reply_text.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._reply_text.restype = None
        self._handles = itertools.count(1)
        self._sessions: dict[int, tuple[Options, Scope]] = {}
        self._partitions: dict[int, CompiledPartition] = {}
        self._library = library
        self._operators: OperatorCallbacks | None = None
        self.record = CompilerRecord(
            COMPILER_VERSION,
            0,
            _Open(self._guard(self._open)),
            _Partition(self._guard(self._partition)),
            _Compile(self._guard(self._compile)),
            _Specialize(self._guard(self._specialize)),
            _Release(self._release),
            _Operators(self._guard(self._list_operators)),
            _Infer(self._guard(self._infer)),
            _CreateKernel(self._guard(self._create_kernel)),
            _Compute(self._guard(self._compute)),
        )

    def _guard(self, callback: Callable[..., None]) -> Callable[..., int]:
        """`callback` as C calls it: the reply comes last, an exception becomes its text."""

        @functools.wraps(callback)
        def guarded(*arguments: Any) -> int:
            reply = arguments[-1]
            try:
                callback(*arguments)
            except RefusedError:
                return 1
            except (OptionError, OperatorError) as error:
                self._say(reply, str(error))
                return 1
            except BaseException as error:  # also KeyboardInterrupt: C cannot pass it on
                _log.debug("%s failed", callback.__name__, exc_info=True)
                self._say(reply, f"{type(error).__name__}: {error}")
                return 1
            return 0

        return guarded

    def _say(self, reply: int, text: str) -> None:
        self._reply_text(reply, text.replace("\0", "").encode("utf-8", "replace"))

    def _send(self, reply: int, data: bytes) -> None:
        if self._reply_bytes(reply, data, len(data)):
            raise RefusedError

    def _send_program(
        self, reply: int, partition: "CompiledPartition", shapes: Sequence[tuple[int, ...]]
    ) -> None:
        def allocate(size: int) -> memoryview:
            address = self._reply_constants(reply, size)
            if size and not address:
                raise RefusedError
            memory = (ctypes.c_char * size).from_address(address) if size else bytearray()
            return memoryview(memory).cast("B")

        self._send(reply, partition.program_head(shapes, allocate))

    def _open(
        self,
        keys: Any,
        values: Any,
        count: int,
        cards: Any,
        card_count: int,
        settings: Any,
        session: Any,
        reply: int,
    ) -> None:
        from furiosa_ep.partitioner.plugins import check_offered
        from furiosa_ep.provider.session_device import hold_device

        given = {keys[index].decode(): values[index].decode() for index in range(count)}
        options = Options.parse(given)
        check_offered(options)
        options, device = hold_device(options, cards[:card_count], target_given="target" in given)
        scope = _scope(options)
        settings[0].program_cache_size = options.program_cache_size
        settings[0].summary_severity = _SEVERITIES[options.summary]
        settings[0].run_timeout = options.run_timeout
        settings[0].device = device.detach()
        session[0] = handle = next(self._handles)
        self._sessions[handle] = options, scope

    def _partition(self, session: int, model: int, size: int, reply: int) -> None:
        from furiosa_ep.compiler import driver

        options, scope = self._sessions[session]
        report = driver.partition_model(ctypes.string_at(model, size), options, scope)
        if schemas := plugin_schemas():
            self._loaded_operators().note(session, report, schemas)
        words = array.array("q", [scope.variant])
        for partition in report.partitions:
            words.append(len(partition))
            words.extend(partition)
        self._send(reply, words.tobytes())
        self._say(reply, report.summary())

    def _compile(
        self,
        session: int,
        model: int,
        size: int,
        shapes: Any,
        count: int,
        partition: Any,
        reply: int,
    ) -> None:
        from furiosa_ep.compiler import driver

        _, scope = self._sessions[session]
        compiled = driver.CompiledPartition(ctypes.string_at(model, size), scope=scope)
        if compiled.static:
            self._send_program(reply, compiled, _by_input(shapes, count))
            return
        partition[0] = handle = next(self._handles)
        self._partitions[handle] = compiled

    def _specialize(self, partition: int, shapes: Any, count: int, reply: int) -> None:
        self._send_program(reply, self._partitions[partition], _by_input(shapes, count))

    def _release(self, handle: int) -> None:
        self._sessions.pop(handle, None)
        self._partitions.pop(handle, None)
        if self._operators is not None:
            self._operators.release(handle)

    def _list_operators(self, generation: Any, reply: int) -> None:
        self._loaded_operators().list(plugin_schemas(), generation, reply)

    def _infer(self, *arguments: Any) -> None:
        self._loaded_operators().infer(*arguments)

    def _create_kernel(self, *arguments: Any) -> None:
        self._loaded_operators().create_kernel(*arguments)

    def _compute(self, *arguments: Any) -> None:
        self._loaded_operators().compute(*arguments)

    def _loaded_operators(self) -> "OperatorCallbacks":
        if self._operators is None:
            from furiosa_ep.provider.operator_callbacks import OperatorCallbacks

            self._operators = OperatorCallbacks(self._library, self._handles)
        return self._operators


def plugin_schemas() -> "Mapping[str, Schema]":
    """The schemas of all loaded plugins, by name."""
    from furiosa_ep.partitioner.plugins import registry

    return registry().named("furiosa_schemas")


def _scope(options: Options) -> "Scope":
    """What a session with these options makes of the plugins."""
    from furiosa_ep.partitioner.registry import Scope

    return Scope(options.target, options.python_kernels == "allow")


def _by_input(shapes: Any, count: int) -> list[tuple[int, ...]]:
    """The shapes of the inputs from `count` words: each its rank and its dims."""
    words = iter(shapes[:count])
    return [tuple(itertools.islice(words, rank)) for rank in words]

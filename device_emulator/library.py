"""Finds and loads libfuriosa_ep.so once, and declares what Python calls of furiosa_ep.h."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from furiosa_ep.device_emulator.device_records import PROTOTYPES as _DEVICE_PROTOTYPES
from furiosa_ep.files import package_file

LIBRARY_NAME = "libfuriosa_ep.so"
LIBRARY_VARIABLE = "FURIOSA_EP_LIBRARY"


class LibraryError(RuntimeError):
    """The native library is missing, cannot be loaded, or is of another version."""


class BindingRecord(ctypes.Structure):
    """furiosa_binding of furiosa_ep.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_uint32),
        ("dtype", ctypes.c_uint32),
        ("size", ctypes.c_size_t),
    ]


WriteCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
"""What furiosa_profile_write calls: context, data, size."""

_Pointers = ctypes.POINTER(ctypes.c_void_p)
_Binding = ctypes.POINTER(BindingRecord)
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "furiosa_last_error": (ctypes.c_char_p, []),
    "furiosa_version": (ctypes.c_char_p, []),
    "furiosa_isa_name": (ctypes.c_char_p, []),
    "furiosa_isa_problem": (ctypes.c_char_p, []),
    "furiosa_set_isa": (ctypes.c_int, [ctypes.c_char_p]),
    "furiosa_checksum": (ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_size_t]),
    "furiosa_program_load": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p)],
    ),
    "furiosa_program_free": (None, [ctypes.c_void_p]),
    "furiosa_program_input_count": (ctypes.c_size_t, [ctypes.c_void_p]),
    "furiosa_program_output_count": (ctypes.c_size_t, [ctypes.c_void_p]),
    "furiosa_program_input": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_size_t, _Binding]),
    "furiosa_program_output": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_size_t, _Binding]),
    "furiosa_program_run": (
        ctypes.c_int,
        [ctypes.c_void_p, _Pointers, ctypes.c_size_t, _Pointers, ctypes.c_size_t],
    ),
    "furiosa_kernel_register": (ctypes.c_int, [ctypes.c_void_p]),
    "furiosa_kernel_unregister": (ctypes.c_int, [ctypes.c_void_p]),
    "furiosa_program_command_count": (ctypes.c_size_t, [ctypes.c_void_p]),
    "furiosa_program_profile": (
        ctypes.c_int,
        [
            *[ctypes.c_void_p, _Pointers, ctypes.c_size_t, _Pointers, ctypes.c_size_t],
            *[ctypes.c_size_t, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int64)],
        ],
    ),
    "furiosa_profile_create": (ctypes.c_int, [ctypes.POINTER(ctypes.c_void_p)]),
    "furiosa_profile_free": (None, [ctypes.c_void_p]),
    "furiosa_profile_record": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int32]),
    "furiosa_profile_span": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64],
    ),
    "furiosa_profile_write": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_uint32, WriteCallback, ctypes.c_void_p],
    ),
    **_DEVICE_PROTOTYPES,
}
"""Result and arguments of every function of furiosa_ep.h."""


def library_path() -> Path:
    """The path of the native library: $FURIOSA_EP_LIBRARY, else the one inside the package.

    Raises:
        LibraryError: where there is no file at that path.
    """
    override = os.environ.get(LIBRARY_VARIABLE)
    path = Path(override) if override else package_file(LIBRARY_NAME)
    if not path.is_file():
        raise LibraryError(
            f"no native library at {path}: "
            + (
                f"${LIBRARY_VARIABLE} must name an existing {LIBRARY_NAME}"
                if override
                else f"install the wheel (pip install furiosa-ep) or set ${LIBRARY_VARIABLE}"
            )
        )
    return path.resolve()


@cache
def load_library() -> ctypes.CDLL:
    """The native library with its prototypes declared; loaded at the first call.

    Raises:
        LibraryError: where it is missing, cannot be loaded, or lacks a function.
    """
    path = library_path()
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise LibraryError(
            f"{path} is no library of this version of furiosa-ep: {error}; install it again"
        ) from error
    return library


def active_isa() -> str:
    """The instruction set that kernels are chosen for, such as "avx512vnni"."""
    return str(load_library().furiosa_isa_name().decode())


def last_error(library: ctypes.CDLL) -> str:
    """The text of the last failure on this thread."""
    return str(library.furiosa_last_error().decode())


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The checksum that a Program carries over `data`: XXH64 with seed 0."""
    import numpy as np  # here, as whoever only looks at devices does without it

    array = np.frombuffer(data, np.uint8)
    return int(load_library().furiosa_checksum(array.ctypes.data, array.nbytes))

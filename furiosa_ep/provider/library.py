"""The native library as a plugin of ONNX Runtime, with the compiler installed in it."""

import atexit
import ctypes
from functools import cache

from furiosa_ep import __version__
from furiosa_ep.device_emulator.devices.native import configure
from furiosa_ep.device_emulator.library import LibraryError, library_path, load_library
from furiosa_ep.provider.callbacks import CompilerCallbacks

EP_NAME = "FuriosaProvider"


@cache
def install_compiler() -> CompilerCallbacks:
    """Lets the native provider call the compiler in this interpreter; once, until it ends.

    Raises:
        LibraryError: where the native library is missing or of another version.
        DeviceError: where the environment describes no devices, or they cannot be used.
    """
    library = load_library()
    found = library.furiosa_version().decode()
    if found != __version__:
        raise LibraryError(
            f"{library_path()} is of furiosa-ep {found}, the Python package is {__version__}: "
            "install furiosa-ep again, or unset FURIOSA_EP_LIBRARY"
        )
    configure()  # ONNX Runtime lists the devices as soon as it is registered
    set_compiler = library.furiosa_set_compiler
    set_compiler.argtypes = [ctypes.c_void_p]
    set_compiler.restype = ctypes.c_int32
    callbacks = CompilerCallbacks(library)
    if set_compiler(ctypes.addressof(callbacks.record)):
        raise LibraryError(
            f"{library_path()} expects another compiler interface than this package has: "
            "install furiosa-ep again, or unset FURIOSA_EP_LIBRARY"
        )
    # Sessions may be alive when the interpreter ends, and must not call into it from then on.
    atexit.register(set_compiler, None)
    return callbacks

"""Registers FuriosaProvider with ONNX Runtime."""

import re
import threading

import onnxruntime

from furiosa_ep.device_emulator.library import library_path
from furiosa_ep.provider.custom_ops import serve_sessions
from furiosa_ep.provider.library import EP_NAME, install_compiler

OLDEST_ONNXRUNTIME = (1, 26)

_lock = threading.Lock()


class RegistrationError(RuntimeError):
    """FuriosaProvider cannot be registered with, or removed from, this ONNX Runtime."""


def register() -> None:
    """Makes FuriosaProvider known to ONNX Runtime; does nothing where it is known already.

    Afterwards `onnxruntime.InferenceSession(model, providers=["FuriosaProvider",
    "CPUExecutionProvider"])` runs on the NPU what it takes, and ONNX Runtime's device API
    (`get_ep_devices`, `add_provider_for_devices`, the PREFER_NPU policy) lists it.

    Raises:
        LibraryError: where the native library is missing or of another version.
        RegistrationError: where ONNX Runtime is too old or refuses the library.
    """
    path = get_library_path()
    _check_version(onnxruntime.__version__)
    with _lock:
        if _registered():
            return
        try:
            onnxruntime.register_execution_provider_library(EP_NAME, path)
        except Exception as error:  # the types of ONNX Runtime's errors have no public base
            raise RegistrationError(f"ONNX Runtime refuses {path}: {error}") from error


def unregister() -> None:
    """Takes FuriosaProvider from ONNX Runtime; does nothing where it is not registered.

    Sessions that exist go on working.

    Raises:
        RegistrationError: where it was registered under another name than "FuriosaProvider".
    """
    with _lock:
        if not _registered():
            return
        try:
            onnxruntime.unregister_execution_provider_library(EP_NAME)
        except Exception as error:  # the types of ONNX Runtime's errors have no public base
            raise RegistrationError(
                f"FuriosaProvider was not registered under the name {EP_NAME!r}: call "
                "onnxruntime.unregister_execution_provider_library with the name that was used"
            ) from error


def get_library_path() -> str:
    """The absolute path of the plugin library, for ONNX Runtime's own way of registering it.

    That is `onnxruntime.register_execution_provider_library(name, path)`.

    Raises:
        LibraryError: where the native library is missing or of another version.
    """
    install_compiler()
    serve_sessions()
    return str(library_path())


def get_ep_name() -> str:
    """The name of the one execution provider in the library: "FuriosaProvider"."""
    return EP_NAME


def get_ep_names() -> list[str]:
    """The names of all execution providers in the library."""
    return [EP_NAME]


def _registered() -> bool:
    return any(device.ep_name == EP_NAME for device in onnxruntime.get_ep_devices())


def _check_version(version: str) -> None:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_ONNXRUNTIME:
        oldest = ".".join(map(str, OLDEST_ONNXRUNTIME))
        raise RegistrationError(
            f"FuriosaProvider needs onnxruntime {oldest} or later, this is {version}: "
            f"pip install 'onnxruntime>={oldest}'"
        )

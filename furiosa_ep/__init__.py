"""furiosa-ep: quantized ONNX models on an emulated Warboy NPU, through ONNX Runtime.

    import onnxruntime, furiosa_ep

    furiosa_ep.register()
    session = onnxruntime.InferenceSession(
        "model.onnx", providers=["FuriosaProvider", "CPUExecutionProvider"]
    )

Importing this package is cheap: each name is loaded when it is first used.
"""

import importlib
import re
from typing import TYPE_CHECKING

from furiosa_ep.lazy import loaded_later

if TYPE_CHECKING:
    from furiosa_ep import devices
    from furiosa_ep.device_emulator.library import LibraryError
    from furiosa_ep.estimation import Estimate, EstimateError, estimate
    from furiosa_ep.explanation import explain
    from furiosa_ep.files import get_include
    from furiosa_ep.options import OptionError, Options
    from furiosa_ep.provider.registration import (
        RegistrationError,
        get_ep_name,
        get_ep_names,
        get_library_path,
        register,
        unregister,
    )
    from furiosa_ep.verification import verify

    __version__: str

__all__ = [
    "Estimate",
    "EstimateError",
    "LibraryError",
    "OptionError",
    "Options",
    "RegistrationError",
    "__version__",
    "devices",
    "estimate",
    "explain",
    "get_ep_name",
    "get_ep_names",
    "get_include",
    "get_library_path",
    "register",
    "unregister",
    "verify",
]

_MODULES = {
    "Estimate": "furiosa_ep.estimation",
    "EstimateError": "furiosa_ep.estimation",
    "LibraryError": "furiosa_ep.device_emulator.library",
    "OptionError": "furiosa_ep.options",
    "Options": "furiosa_ep.options",
    "RegistrationError": "furiosa_ep.provider.registration",
    "estimate": "furiosa_ep.estimation",
    "explain": "furiosa_ep.explanation",
    "get_ep_name": "furiosa_ep.provider.registration",
    "get_ep_names": "furiosa_ep.provider.registration",
    "get_include": "furiosa_ep.files",
    "get_library_path": "furiosa_ep.provider.registration",
    "register": "furiosa_ep.provider.registration",
    "unregister": "furiosa_ep.provider.registration",
    "verify": "furiosa_ep.verification",
}
"""Where each public name comes from."""


if not TYPE_CHECKING:  # which sees the imports above instead, and misspelt names
    _load = loaded_later(__name__, _MODULES)

    def __getattr__(name: str) -> object:
        if name == "__version__":
            value: object = _version()
        elif name == "devices":
            value = importlib.import_module("furiosa_ep.devices")
        else:
            return _load(name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """FURIOSA_EP_VERSION of the C header: the one place that states the version."""
    from furiosa_ep.files import package_file

    header = package_file("include", "furiosa_ep.h").read_text(encoding="utf-8")
    return str(re.findall(r'#define FURIOSA_EP_VERSION "([^"]+)"', header)[0])

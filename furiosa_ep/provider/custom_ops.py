"""Give the operators of plugins' own domains to sessions that are created from Python.

ONNX Runtime takes them from the provider itself only where devices are added to session options.
For sessions by name or by policy it loads the model first, so they are added to the options before.
"""

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import onnxruntime

from furiosa_ep.device_emulator.library import library_path
from furiosa_ep.provider.callbacks import plugin_schemas
from furiosa_ep.provider.library import EP_NAME

_with_devices: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Session options that have the operators with the provider's devices."""
_sessions: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Sessions that were created such that they may use FuriosaProvider."""


def register_custom_ops(options: Any) -> None:
    """Add the operators of all plugins to session options, unless they are there already.

    Without plugins that bring operators nothing happens.
    """
    if plugin_schemas() and options not in _with_devices:
        options.register_custom_ops_library(str(library_path()))


@functools.cache
def serve_sessions() -> None:
    """Let every InferenceSession that may use FuriosaProvider have the operators; once.

    InferenceSession has a method for providers with operators of their own, which it calls before
    it loads the model.
    """
    _extend(onnxruntime.InferenceSession, "_register_ep_custom_ops", _before_loading)
    _extend(onnxruntime.SessionOptions, "add_provider_for_devices", _with_added_devices)


def _extend(owner: Any, name: str, action: Callable[..., None]) -> None:
    """Let the method `name` do `action` as well, with the same arguments."""
    original = getattr(owner, name, None)
    if original is None:  # this onnxruntime has no such method
        return

    @functools.wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        action(*args, **kwargs)
        return result

    setattr(owner, name, method)


def _before_loading(session: Any, options: Any, providers: Sequence[str], *_rest: Any) -> None:
    if EP_NAME in providers or (not providers and options.has_providers()):
        _sessions.add(session)
    if session in _sessions:  # also one that has fallen back to the CPU, or was told to go there
        register_custom_ops(options)


def _with_added_devices(options: Any, devices: Sequence[Any], *_rest: Any) -> None:
    if any(device.ep_name == EP_NAME for device in devices):
        _with_devices.add(options)

"""The emulated device: executes Programs, natively or with the reference kernels.

Importing this package is cheap: what needs NumPy is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from furiosa_ep.device_emulator.library import LibraryError, checksum, load_library
from furiosa_ep.lazy import loaded_later

if TYPE_CHECKING:
    from furiosa_ep.device_emulator.executor import Executable
    from furiosa_ep.device_emulator.kernels import (
        KernelError,
        call_kernel,
        native_function,
        register_kernel,
        registered_kernel,
        unregister_kernel,
    )
    from furiosa_ep.device_emulator.profiling import CommandTime, profile_commands
    from furiosa_ep.device_emulator.reference_executor import run_reference

__all__ = [
    "CommandTime",
    "Executable",
    "KernelError",
    "LibraryError",
    "call_kernel",
    "checksum",
    "load_library",
    "native_function",
    "profile_commands",
    "register_kernel",
    "registered_kernel",
    "run_reference",
    "unregister_kernel",
]

_MODULES = {
    "executor": ("Executable",),
    "kernels": (
        *("KernelError", "call_kernel", "native_function"),
        *("register_kernel", "registered_kernel", "unregister_kernel"),
    ),
    "profiling": ("CommandTime", "profile_commands"),
    "reference_executor": ("run_reference",),
}
"""What each module gives."""


if not TYPE_CHECKING:  # which sees the imports above instead, and misspelt names
    __getattr__ = loaded_later(
        __name__,
        {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names},
    )

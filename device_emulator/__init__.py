"""The emulated device: executes Programs, natively or with the reference kernels."""

from furiosa_ep.device_emulator.executor import Executable
from furiosa_ep.device_emulator.kernels import (
    KernelError,
    call_kernel,
    native_function,
    register_kernel,
    registered_kernel,
    unregister_kernel,
)
from furiosa_ep.device_emulator.library import LibraryError, checksum, load_library
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

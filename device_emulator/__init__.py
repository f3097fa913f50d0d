"""The emulated device: executes Programs, natively or with the reference kernels."""

from furiosa_ep.device_emulator.executor import Executable
from furiosa_ep.device_emulator.library import LibraryError, checksum, load_library
from furiosa_ep.device_emulator.profiling import CommandTime, profile_commands
from furiosa_ep.device_emulator.reference_executor import run_reference

__all__ = [
    "CommandTime",
    "Executable",
    "LibraryError",
    "checksum",
    "load_library",
    "profile_commands",
    "run_reference",
]

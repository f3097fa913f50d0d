"""The Programs that sessions compile, run by the native executor and by the NumPy reference."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from furiosa_ep.compiler import driver
from furiosa_ep.device_emulator import Executable, checksum, run_reference
from furiosa_ep.program import Binding, Program
from tests.random_graphs import difference


def captured_programs(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A list that grows by every Program that a session compiles while the test runs."""
    written: list[bytes] = []
    original = driver.CompiledPartition.build

    def build(self: driver.CompiledPartition, *arguments: Any) -> Program:
        program = original(self, *arguments)
        written.append(program.to_bytes(checksum))
        return program

    monkeypatch.setattr(driver.CompiledPartition, "build", build)
    return written


def random_input(binding: Binding, seed: int = 0) -> npt.NDArray[Any]:
    """Values for an input: all codes of an integer type, floats around zero."""
    random = np.random.default_rng(seed)
    dtype = binding.dtype.numpy
    if dtype.kind == "f":
        return random.normal(0, 2, binding.shape).astype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, binding.shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, binding.shape, dtype, endpoint=True)


def difference_from_reference(program: bytes, seed: int = 0) -> str | None:
    """How the native executor differs from the NumPy reference on random inputs, or None."""
    parsed = Program.from_bytes(program)
    inputs = [random_input(binding, seed + n) for n, binding in enumerate(parsed.inputs)]
    return difference(run_reference(parsed, inputs), Executable(program).run(inputs))

"""The registry of reference functions, filled once while the package is imported."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from furiosa_ep.program import OPCODES

Operands: TypeAlias = Sequence[npt.NDArray[Any] | None]
Attributes: TypeAlias = Mapping[str, Any]
Reference: TypeAlias = Callable[[Operands, Attributes, npt.NDArray[Any]], None]

_REGISTRY: dict[str, Reference] = {}


def reference(opcode: str) -> Callable[[Reference], Reference]:
    """Registers the decorated function as the definition of `opcode`."""
    if opcode not in OPCODES or opcode in _REGISTRY:
        raise ValueError(f"{opcode}: expected an opcode without a reference function so far")

    def register(function: Reference) -> Reference:
        _REGISTRY[opcode] = function
        return function

    return register


def read_only_registry() -> MappingProxyType[str, Reference]:
    return MappingProxyType(_REGISTRY)


def present(operand: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """`operand`, which its opcode requires."""
    if operand is None:
        raise ValueError("a required operand is absent")
    return operand


def lookup(table: npt.NDArray[np.uint8] | None, q: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`q` through a table: [256], or [C, 256] with one row per index of the last dim; or as is."""
    if table is None:
        return q
    if table.ndim == 1:
        return table[q]
    return table[np.arange(table.shape[0]), q]

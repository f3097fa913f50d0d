"""The definition of every opcode, in NumPy: native kernels equal these on every bit.

A file of this package defines the opcodes of one family and registers them:

    @reference("ADD")
    def add(operands: Operands, attributes: Attributes, out: NDArray[Any]) -> None: ...

`operands` are the inputs as arrays of any strides in physical order, None where an optional one is
absent; `attributes` those of furiosa_opcodes.def by name; the result is written into `out`, a
strided view whose dims are the result's. 8-bit tensors are uint8: an int8 value is held with its
top bit flipped, and zero points are given in that stored domain.
"""

import importlib
import pkgutil
from types import MappingProxyType

from furiosa_ep.kernels.reference._registry import (
    Attributes,
    Operands,
    Reference,
    read_only_registry,
    reference,
)

__all__ = ["REFERENCE", "Attributes", "Operands", "Reference", "reference"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

REFERENCE: MappingProxyType[str, Reference] = read_only_registry()
"""The function of every opcode, by its name in furiosa_opcodes.def."""

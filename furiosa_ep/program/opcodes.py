"""The opcodes of a Program, read from the header that the native executor includes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from furiosa_ep.files import package_file

_LINE = re.compile(r'^FURIOSA_OPCODE\((\d+), (\w+), "([^"]*)", "([^"]*)"\)$', re.MULTILINE)


@dataclass(frozen=True)
class OpcodeSchema:
    """Operands and attributes of one opcode, in the order in which a Program stores them."""

    number: int
    name: str
    inputs: tuple[str, ...]
    """Names of the input operands."""
    optional: frozenset[str]
    """The input operands that may be absent."""
    attributes: tuple[str, ...]
    floats: frozenset[str]
    """The attributes that hold a float32; the others are int64."""
    variadic: str | None
    """Name of a last attribute that takes all remaining words, if there is one."""
    variadic_input: str | None
    """Name of a last input that is any number of operands, each of which may be absent."""


def _parse(number: str, name: str, operands: str, attributes: str) -> OpcodeSchema:
    inputs = operands.partition("->")[0].split()
    several = inputs.pop() if inputs and inputs[-1].endswith("...") else None
    words = attributes.split()
    variadic = words.pop()[:-2] if words and words[-1].endswith("[]") else None
    return OpcodeSchema(
        number=int(number),
        name=name,
        inputs=tuple(operand.split(":")[0] for operand in inputs),
        optional=frozenset(operand.split(":")[0] for operand in inputs if operand.endswith("?")),
        attributes=tuple(word.removesuffix(":f") for word in words),
        floats=frozenset(word.removesuffix(":f") for word in words if word.endswith(":f")),
        variadic=variadic,
        variadic_input=several and several.split(":")[0],
    )


def _read() -> dict[str, OpcodeSchema]:
    text = package_file("include", "furiosa_opcodes.def").read_text("utf-8")
    return {match[2]: _parse(*match.groups()) for match in _LINE.finditer(text)}


OPCODES: Mapping[str, OpcodeSchema] = MappingProxyType(_read())
"""Every opcode by name."""

NAMES: Mapping[int, str] = MappingProxyType({one.number: name for name, one in OPCODES.items()})
"""Every opcode's name by number."""

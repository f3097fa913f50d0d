"""What a plugin says about an operator of its own domain, so that ONNX Runtime loads it."""

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt

from furiosa_ep.graph.element_type import NUMPY_DTYPES, ElementType, element_name

Array: TypeAlias = npt.NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]
"""By name: int, float, str, ndarray for a tensor, lists of int or float. What a node does not have
is not in it."""
Shape: TypeAlias = tuple[int | str | None, ...] | None
"""For each dim its size, the name of a symbolic one, or None; None where not even the rank is
known."""

ELEMENT_TYPES: Mapping[str, int] = {
    element_name(number): number for number, dtype in NUMPY_DTYPES.items() if dtype.kind != "c"
}
"""By their ONNX names the element types that values may have; ONNX Runtime has no complex ones."""
ATTRIBUTE_TYPES = {"float": 1, "int": 2, "string": 3, "tensor": 4, "floats": 6, "ints": 7}
"""The types that attributes may have, as in onnx.AttributeProto.AttributeType."""

FOREIGN_DOMAINS = ("ai.onnx", "com.microsoft", "com.ms.")
"""What the domains of operators begin with that ONNX Runtime knows."""

_MOST_CHOICES = 64
_VALUE = r"(\w+):(\w+(?:\|\w+)*)([?*+]?)"
_ATTRIBUTE = r"(\w+):(\w+)(\??)"
_OP_TYPE = r"[A-Za-z_]\w*"


class SchemaValue(NamedTuple):
    """One input or output of an operator."""

    name: str
    types: tuple[int, ...]
    """The element types that it may have; empty for any."""
    optional: bool
    variadic: bool
    """Whether it stands for several values."""
    least: int
    """How many there must be of a variadic one."""


class SchemaAttribute(NamedTuple):
    """One attribute of an operator."""

    name: str
    type: int
    """Of ATTRIBUTE_TYPES."""
    optional: bool


@dataclass(frozen=True)
class Schema:
    """An operator of a plugin's own domain. ONNX Runtime refuses a model with unknown operators.

    Nodes that the NPU does not take run on the CPU by `compute`. So do all in a session without
    FuriosaProvider whose options were given the operators by
    `options.register_custom_ops_library(furiosa_ep.get_library_path())`.

    Raises:
        ValueError: where the domain belongs to others, or a text cannot be read.
    """

    op_type: str
    domain: str
    """The plugin's own, like `hello`. ONNX Runtime keeps one schema for an operator of a domain:
    another version with other inputs needs another name."""
    operands: str
    """`name:type` each, as in "x:uint8|int8 y:uint8|int8 gamma:float? -> z:uint8|int8": element
    types by their ONNX names, `|` between several, or `any`. Values with equal types all have the
    same one in a node. `?` marks an optional value, `*` a last one that stands for any number of
    values, `+` for one or more."""
    attributes: str = ""
    """`name:type` each, as in "low:int high:int mode:string?", with the types float, int, string,
    tensor, floats and ints; `?` marks an optional one. The functions get a mapping of those that
    the node has to int, float, str, ndarray, or a list."""
    since: int = 1
    """The lowest version of the domain that a model may import."""
    shape: Callable[[Sequence[Shape], Attributes], Sequence[Shape]] | None = None
    """Gives the shapes of the outputs by those of the inputs and the attributes. A shape has for
    each dim its size, the name of a symbolic one, or None, and is None where nothing is known.
    Without the function all outputs have the shape of the first input."""
    compute: Callable[[Sequence[Any], Attributes], Array | Sequence[Array | None]] | None = None
    """Gives the output, or all of them in order, by the inputs and the attributes. Inputs are
    arrays that are read-only and valid during the call, None for an absent value. Without the
    function the operator runs on the NPU only. Like `shape`, it is called under Python's GIL, by
    any thread."""
    owner: str = ""
    """The plugin; filled in by the plugin manager."""

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"schema {self.name}: {error}") from None

    @property
    def name(self) -> str:
        """What users write: `hello:ClipSum`."""
        return f"{self.domain}:{self.op_type}"

    @functools.cached_property
    def inputs(self) -> tuple[SchemaValue, ...]:
        """The inputs in order."""
        return _values(self.operands.partition("->")[0])

    @functools.cached_property
    def outputs(self) -> tuple[SchemaValue, ...]:
        """The outputs in order."""
        return _values(self.operands.partition("->")[2])

    @functools.cached_property
    def attribute_list(self) -> tuple[SchemaAttribute, ...]:
        """The attributes in order."""
        return tuple(_attribute(word) for word in self.attributes.split())

    def type_choices(self) -> Iterator[Mapping[tuple[int, ...], int]]:
        """Every choice of one type for each `SchemaValue.types`; UNDEFINED where it may be any."""
        groups = list(dict.fromkeys(value.types for value in (*self.inputs, *self.outputs)))
        any_type = (ElementType.UNDEFINED,)
        for choice in itertools.product(*(types or any_type for types in groups)):
            yield dict(zip(groups, choice, strict=True))

    def type_source(self, output: SchemaValue) -> int | None:
        """The input whose type an output has; None where its type is fixed."""
        if len(output.types) == 1:
            return None
        for position, value in enumerate(self.inputs):
            if value.types == output.types and not value.optional and value.least:
                return position
        raise ValueError(
            f"the type of output {output.name!r} is open: give it one type, or the same types as a "
            "required input"
        )

    def _check(self) -> None:
        if not re.fullmatch(_OP_TYPE, self.op_type):
            raise ValueError("the operator needs a name like ClipSum")
        if not self.domain or self.domain.startswith(FOREIGN_DOMAINS):
            raise ValueError(
                f"domain {self.domain!r} is not the plugin's: choose one of its own, like 'hello'"
            )
        if self.since < 1:
            raise ValueError(f"since={self.since}: versions begin at 1")
        if not self.outputs:
            raise ValueError(f"operands {self.operands!r}: expected 'name:type -> name:type'")
        groups = {value.types for value in (*self.inputs, *self.outputs)}
        if math.prod(len(types) or 1 for types in groups) > _MOST_CHOICES:
            raise ValueError(
                f"operands {self.operands!r} have more than {_MOST_CHOICES} combinations of types: "
                "use 'any'"
            )
        for output in self.outputs:
            self.type_source(output)
        names = [one.name for one in self.attribute_list]
        if len(set(names)) < len(names):
            raise ValueError(f"attributes {self.attributes!r} have a name twice")


def _values(text: str) -> tuple[SchemaValue, ...]:
    words = text.split()
    values = tuple(map(_value, words))
    for word, value in zip(words[:-1], values[:-1], strict=True):
        if value.variadic:
            raise ValueError(f"operand {word!r}: only the last one may stand for several values")
    return values


def _value(word: str) -> SchemaValue:
    match = re.fullmatch(_VALUE, word)
    if match is None:
        raise ValueError(f"cannot read the operand {word!r}: expected name:type")
    name, types, mark = match.groups()
    known = () if types == "any" else tuple(map(_element_type, types.split("|")))
    return SchemaValue(name, known, mark == "?", mark in ("*", "+"), 0 if mark == "*" else 1)


def _element_type(name: str) -> int:
    if name not in ELEMENT_TYPES:
        raise ValueError(f"element type {name!r}: expected any, {', '.join(ELEMENT_TYPES)}")
    return ELEMENT_TYPES[name]


def _attribute(word: str) -> SchemaAttribute:
    match = re.fullmatch(_ATTRIBUTE, word)
    if match is None or match[2] not in ATTRIBUTE_TYPES:
        raise ValueError(
            f"cannot read the attribute {word!r}: expected name:type with a type of "
            f"{', '.join(ATTRIBUTE_TYPES)}"
        )
    return SchemaAttribute(match[1], ATTRIBUTE_TYPES[match[2]], bool(match[3]))

"""The kinds of device operations: what each reads, writes, and must be told by its attributes.

Operands are `name:types`, of which `=` after the colon demands a constant, `?` at the end allows
that it is absent, and `...` any number of them. The result follows the arrow; `same` is the type of
the operands. A result that is looked up in a table may be I8, as users have it. Attributes are
`name:type`; `?` allows None and that it is absent. Types are the keys of `TYPES`, or a choice.

The formulas are those of the opcodes with the same names (docs/program.md). Shapes are in ONNX's
axis order, zero points and padding values as they are stored (0 to 255).
"""

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from furiosa_ep.graph.device import Operation, Residual, Table
from furiosa_ep.graph.quantization import QuantParams
from furiosa_ep.program.program import DType

_WINDOW = "strides:counts dilations:counts pads:sizes"
_X_TO_Y = "x_params:params y_params:params"
_BINARY = ("a:u8 b:u8 -> u8", "a_params:params b_params:params y_params:params table:table?")

DECLARATIONS: Mapping[str, tuple[str, str]] = {
    "Quantize": ("x:f32 -> u8", "params:params"),
    "Dequantize": ("x:u8 -> f32", "params:params"),
    "Lookup": ("x:u8|i8 -> u8|i8", "table:table"),
    "Conv": (
        "x:u8 w:=i8|i16 bias:=i32 multiplier:=f32 residual:u8? -> u8|f32",
        f"{_WINDOW} group:count x_zero_point:code y_zero_point:code table:table? "
        "residual:residual? residual_table:table?",
    ),
    "ConvTranspose": (
        "x:u8 w:=f32 bias:=f32? -> u8|f32",
        f"{_WINDOW} output_padding:sizes group:count x_params:params y_params:params? table:table?",
    ),
    "MatMul": (
        "a:u8 b:u8 -> u8|f32",
        "a_zero_point:code b_zero_point:code y_zero_point:code multiplier:real table:table?",
    ),
    "Add": _BINARY,
    "Mul": _BINARY,
    "Expression": ("x:u8|f32... -> u8|f32", "params:each y_params:params? code:words table:table?"),
    "MaxPool": ("x:u8 -> u8", f"kernel:counts {_WINDOW} table:table?"),
    "AveragePool": (
        "x:u8 -> u8",
        f"kernel:counts {_WINDOW} count_include_pad:flag {_X_TO_Y} table:table?",
    ),
    "GlobalAveragePool": ("x:u8 -> u8", f"{_X_TO_Y} table:table?"),
    "Reduce": (
        "x:u8 -> u8|f32",
        "reduction:mean|sum|max|l2 axes:ints keepdims:flag channels_last:flag? x_params:params "
        "y_params:params? table:table?",
    ),
    "Softmax": ("x:u8 -> u8", f"axis:int precision:32|64 {_X_TO_Y} table:table?"),
    "LpNormalization": ("x:u8 -> u8|f32", "axis:int p:1|2 x_params:params y_params:params?"),
    "ResizeNearest": ("x:u8 -> u8", "rows:indices columns:indices table:table?"),
    "ResizeLinear": (
        "x:u8 -> u8",
        "rows:indices row_weights:reals columns:indices column_weights:reals "
        "variant:float|truncated|fixed x_params:params? y_params:params? table:table?",
    ),
    "Gather": ("x:u8 -> u8", "axis:int indices:indices table:table?"),
    "Reshape": ("x -> same", ""),
    "Expand": ("x -> same", ""),
    "Transpose": ("x -> same", "perm:ints"),
    "Slice": ("x -> same", "starts:ints steps:ints"),
    "Concat": ("x... -> same", "axis:int"),
    "Pad": ("x -> same", "pads:sizes value:code"),
    "Call": ("x?... -> any", "kernel:any params:each y_params:params? values:any"),
}
"""Every kind: its operands and result, and its attributes."""


INTEGERS = frozenset(
    {bool, int} | {np.dtype(f"{sign}{size}").type for sign in "iu" for size in (1, 2, 4, 8)}
)
"""The classes of integers."""


def are_integers(values: Sequence[Any]) -> bool:
    """Whether all values are integers."""
    return INTEGERS.issuperset(map(type, values))


def _is_integer(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    return type(value) in INTEGERS and least <= value <= most


def _are_from(value: Any, least: int) -> bool:
    return _are(value) and (not value or min(value) >= least)


def _are(value: Any) -> bool:
    return type(value) in (tuple, list) and are_integers(value)


def _is_array(value: Any, kinds: str) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in kinds


def _is_quantization(value: Any) -> bool:
    return (
        isinstance(value, QuantParams)
        and isinstance(value.scale, (float, np.floating))
        and _is_integer(value.stored_zero_point, 0, 255)
    )


def _is_code(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(
        isinstance(word, tuple)
        and len(word) == 2
        and _is_integer(word[0])
        and isinstance(word[1], (int, float, np.number))
        for word in value
    )


TABLE_SLOTS = ("table", "residual_table")
"""The attributes that are tables for the result."""

TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("an integer", _is_integer),
    "count": ("an integer from 1", lambda value: _is_integer(value, 1)),
    "code": ("an integer from 0 to 255", lambda value: _is_integer(value, 0, 255)),
    "flag": ("a bool", lambda value: _is_integer(value, 0, 1) or isinstance(value, np.bool_)),
    "real": ("a number", lambda value: isinstance(value, (float, np.floating))),
    "ints": ("integers", _are),
    "counts": ("integers from 1", lambda value: _are_from(value, 1)),
    "sizes": ("integers from 0", lambda value: _are_from(value, 0)),
    "indices": ("an array of integers", lambda value: _is_array(value, "iu")),
    "reals": ("an array of float32", lambda value: _is_array(value, "f")),
    "params": ("QuantParams", _is_quantization),
    "each": (
        "QuantParams or None for each operand",
        lambda value: (
            isinstance(value, (tuple, list))
            and all(one is None or _is_quantization(one) for one in value)
        ),
    ),
    "words": ("pairs of an operation and its payload", _is_code),
    "table": ("a Table", lambda value: isinstance(value, Table)),
    "residual": ("a Residual", lambda value: isinstance(value, Residual)),
    "any": ("anything", lambda value: True),
}
"""Types of attributes: for people, and whether a value is one."""


@dataclass(frozen=True)
class OperandSchema:
    """What a kind reads at one position."""

    name: str
    dtypes: frozenset[DType]
    optional: bool
    constant: bool


@dataclass(frozen=True)
class AttributeSchema:
    """An attribute of a kind."""

    name: str
    expected: str
    """For people."""
    fits: Callable[[Any], bool]
    optional: bool


@dataclass(frozen=True)
class Kind:
    """A kind of device operation."""

    operands: tuple[OperandSchema, ...]
    repeats: bool
    """Whether the last operand stands for any number of them."""
    results: frozenset[DType] | None
    """The types that the result may have; None where it has that of the operands."""
    attributes: Mapping[str, AttributeSchema]
    required: tuple[str, ...]
    """The attributes that may not be absent."""

    @classmethod
    def read(cls, operands: str, attributes: str) -> "Kind":
        """A kind as it is declared in `DECLARATIONS`."""
        words, _, result = operands.partition(" -> ")
        schemas = [_attribute(word) for word in attributes.split()]
        return cls(
            tuple(map(_operand, words.split())),
            words.endswith("..."),
            None if result == "same" else _dtypes(result),
            {one.name: one for one in schemas},
            tuple(one.name for one in schemas if not one.optional),
        )

    def check(self, operation: Operation) -> None:
        """Check operands, result and attributes, one by one.

        Raises:
            ValueError: where they are not as declared; the message says what is expected.
        """
        self._check_operands(operation)
        attributes = operation.attributes
        for name, value in attributes.items():
            one = self.attributes.get(name)
            if one is None:
                known = ", ".join(self.attributes) or "none"
                raise ValueError(f"attribute {name!r} is unknown: expected {known}")
            if value is not None and not one.fits(value):
                raise ValueError(
                    f"attribute {name!r} is {reprlib.repr(value)}: expected {one.expected}"
                )
        for name in self.required:
            if attributes.get(name) is None:
                expected = self.attributes[name].expected
                raise ValueError(f"attribute {name!r} is missing: expected {expected}")

    def _check_operands(self, operation: Operation) -> None:
        inputs, schemas = operation.inputs, self.operands
        if len(inputs) > len(schemas):
            if not self.repeats:
                raise ValueError(f"{len(inputs)} operands: expected at most {len(schemas)}")
            schemas = (*schemas, *schemas[-1:] * (len(inputs) - len(schemas)))
        for position, one in enumerate(schemas):
            value = inputs[position] if position < len(inputs) else None
            if value is None:
                if not one.optional:
                    raise ValueError(f"operand {one.name!r} is missing")
            elif value.dtype not in one.dtypes:
                raise ValueError(
                    f"operand {one.name!r} is {value.dtype.name}: expected {_names(one.dtypes)}"
                )
            elif one.constant and value.constant is None:
                raise ValueError(f"operand {one.name!r} must be a constant")
        result = operation.output.dtype
        if self.results is not None:
            if result not in self.results and not (result == DType.I8 and _looks_up(operation)):
                raise ValueError(f"the result is {result.name}: expected {_names(self.results)}")
            return
        for value in inputs:
            if value is not None and value.dtype != result:
                raise ValueError(f"{value.dtype.name} to {result.name}: expected the same")


def _looks_up(operation: Operation) -> bool:
    return any(operation.attributes.get(slot) is not None for slot in TABLE_SLOTS)


def _operand(word: str) -> OperandSchema:
    word = word.removesuffix("...")
    name, _, types = word.removesuffix("?").partition(":")
    return OperandSchema(
        name, _dtypes(types.lstrip("=")), word.endswith("?"), types.startswith("=")
    )


def _attribute(word: str) -> AttributeSchema:
    name, _, declared = word.removesuffix("?").partition(":")
    if "|" in declared:
        choices = {int(one) if one.isdigit() else one for one in declared.split("|")}
        expected = " or ".join(declared.split("|"))
        known = (expected, lambda value: isinstance(value, (int, str)) and value in choices)
    else:
        known = TYPES[declared]
    return AttributeSchema(name, *known, word.endswith("?"))


def _dtypes(names: str) -> frozenset[DType]:
    if names in ("", "any"):
        return frozenset(DType)
    return frozenset(DType[name.upper()] for name in names.split("|"))


def _names(dtypes: Sequence[DType] | frozenset[DType]) -> str:
    return " or ".join(sorted(one.name for one in dtypes))


KINDS: Mapping[str, Kind] = MappingProxyType(
    {name: Kind.read(*declared) for name, declared in DECLARATIONS.items()}
)
"""Every kind by name."""

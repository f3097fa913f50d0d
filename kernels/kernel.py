"""What a plugin says about a kernel of its own: the reference, native functions, what it takes."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Attributes = Mapping[str, int | float]

_OPERAND = re.compile(r"(\w+):(\w+(?:\|\w+)*)(\??)")
_ATTRIBUTE = re.compile(r"(\w+)(:f)?")
_OPCODE = re.compile(r"[A-Z][A-Z0-9_]*")
ISAS = ("scalar", "avx2", "avxvnni", "avx512vnni", "neon")
"""Instruction sets; on a processor each contains those before it, neon only the first."""


def isas_with(isa: str) -> tuple[str, ...]:
    """The instruction sets of a machine whose best one this is, that one last."""
    return ("scalar", "neon") if isa == "neon" else ISAS[: ISAS.index(isa) + 1]


class OperandSchema(NamedTuple):
    """One operand of a kernel."""

    name: str
    dtypes: tuple[str, ...]
    """Such as ("u8", "f32")."""
    optional: bool = False


class KernelTensor(NamedTuple):
    """An operand or the result of a kernel: an array and, where it is 8-bit, its quantization.

    8-bit tensors are uint8: an int8 value is held with its top bit flipped, its zero point plus
    128. So the real value is (array - zero_point) * scale for both.
    """

    array: Array
    scale: np.float32 = np.float32(1)
    zero_point: int = 0

    def dequantized(self) -> npt.NDArray[np.float32]:
        """The real values of an 8-bit tensor, as DequantizeLinear gives them."""
        from furiosa_ep.kernels.reference.elementwise import dequantize

        return dequantize(self.array, float(self.scale), self.zero_point)

    def quantized(self, values: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """What QuantizeLinear makes of real values for this 8-bit tensor."""
        from furiosa_ep.kernels.reference.elementwise import quantize

        return quantize(np.asarray(values, np.float32), float(self.scale), self.zero_point)


@dataclass(frozen=True)
class KernelFrame:
    """One call of a kernel, as its NumPy reference sees it (furiosa_kernel_frame in C)."""

    inputs: tuple[KernelTensor | None, ...]
    """In the order of `Kernel.operands`; None for an optional operand that is absent. Read-only."""
    output: KernelTensor
    """Its array is to be filled in place: `frame.output.array[...] = result`."""
    attributes: Attributes = field(default_factory=lambda: MappingProxyType({}))
    """By name, in the order of `Kernel.attributes`."""


@dataclass(frozen=True)
class NativeKernel:
    """A native function of a kernel, `int32_t (const furiosa_kernel_frame*)`.

    It is a symbol in a shared library, or an address such as that of a numba `@cfunc`. It may be
    called by several threads at once, without Python's GIL, and must not touch Python.
    """

    library: str | Path = ""
    """The path of a shared library."""
    symbol: str = ""
    """The function in it."""
    address: int = 0
    """The function's address, instead of both."""
    isa: str = "scalar"
    """The least instruction set that it needs; of several functions the best one is taken."""
    keep: Any = None
    """What has to live as long as the address is used."""

    def __post_init__(self) -> None:
        if bool(self.address) == bool(self.library and self.symbol):
            raise ValueError("a NativeKernel has either a library and a symbol, or an address")
        if self.isa not in ISAS:
            raise ValueError(f"isa {self.isa!r}: expected one of {', '.join(ISAS)}")


class KernelCase(NamedTuple):
    """One call to hold native functions against the reference (`furiosa plugins check`)."""

    inputs: Sequence[KernelTensor | None]
    output: KernelTensor
    """Its array tells shape and dtype only."""
    attributes: Attributes = MappingProxyType({})

    @property
    def shapes(self) -> "Shapes":
        """Those of the operands, None for one that is absent, then that of the result."""
        return [None if one is None else one.array.shape for one in (*self.inputs, self.output)]


class KernelCost(NamedTuple):
    """What a call takes on the device, for the timing model: whole numbers up to 2**53."""

    macs: int = 0
    """Multiplications of 8-bit values."""
    operations: int = 0
    """Other operations on elements."""


Shapes = Sequence[tuple[int, ...] | None]
"""Those of the operands, None for one that is absent, then that of the result."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that Programs call by its opcode. The NumPy reference defines its result.

    Raises:
        ValueError: where the opcode or a schema cannot be read.
    """

    opcode: str
    """Upper case, unique among all plugins: begin it with the plugin's name, `HELLO_CLIP_SUM`."""
    operands: str
    """`name:dtype` each, as in "x:u8 gamma:f32? -> y:u8|f32": `?` marks an optional operand, `|`
    separates dtypes of u8, f32, i8, i16, i32, i64 and bool."""
    reference: Callable[[KernelFrame], None]
    """Fills `frame.output.array`. Every native function must give the same bits."""
    attributes: str = ""
    """Names in order, as in "axis epsilon:f": integers (int64), with `:f` real (double)."""
    native: tuple[NativeKernel, ...] = ()
    """Without any the reference runs: under Python's GIL, and only where the session allows it
    (provider option python_kernels=allow)."""
    strided: bool = False
    """Whether it takes operands and a result with any strides. Otherwise they are row-major."""
    workspace: int | Callable[[Shapes], int] = 0
    """Bytes of working memory for each call, 64-byte aligned: a number, or by the shapes."""
    cost: Callable[[Shapes], KernelCost] | None = None
    """What a call takes on the device, by the shapes."""
    cases: "Callable[[int, np.random.Generator], Iterable[KernelCase]] | None" = None
    """Calls with sizes around a number, to check native functions against the reference."""
    priority: int = 0
    """Of two kernels with one opcode the higher one is used."""
    owner: str = ""
    """The plugin; filled in by the plugin manager."""

    def __post_init__(self) -> None:
        if not _OPCODE.fullmatch(self.opcode):
            raise ValueError(f"opcode {self.opcode!r}: expected upper case, like HELLO_CLIP_SUM")
        if not callable(self.reference):
            raise ValueError(f"kernel {self.opcode}: reference is not callable")
        self.schema  # noqa: B018  # raises
        self.attribute_names  # noqa: B018

    @property
    def schema(self) -> tuple[OperandSchema, ...]:
        """The operands, then the result."""
        inputs, arrow, result = self.operands.partition("->")
        found = []
        for word in (*inputs.split(), result.strip()):
            match = _OPERAND.fullmatch(word)
            if match is None or not arrow:
                raise ValueError(
                    f"kernel {self.opcode}: operands {self.operands!r}: expected "
                    "'name:dtype name:dtype? -> name:dtype'"
                )
            found.append(OperandSchema(match[1], tuple(match[2].split("|")), bool(match[3])))
        return tuple(found)

    @property
    def attribute_names(self) -> Mapping[str, bool]:
        """For each attribute, in order, whether it is real."""
        found: dict[str, bool] = {}
        for word in self.attributes.split():
            match = _ATTRIBUTE.fullmatch(word)
            if match is None or match[1] in found:
                raise ValueError(
                    f"kernel {self.opcode}: attributes {self.attributes!r}: expected names, "
                    "with ':f' for real ones"
                )
            found[match[1]] = bool(match[2])
        return found

    def check_call(self, dtypes: Sequence[str | None], attributes: Mapping[str, Any]) -> None:
        """Check that a call with operands and a result of these dtypes fits the declaration.

        Args:
            dtypes: one each, the result's last; None for an operand that is absent.
            attributes: by name.

        Raises:
            ValueError: where it does not; the message says what is expected.
        """
        where = f"kernel {self.opcode}"
        if len(dtypes) != len(self.schema):
            raise ValueError(f"{where}: {len(dtypes) - 1} operands, expected {self.operands}")
        for one, dtype in zip(self.schema, dtypes, strict=True):
            if dtype is None and not one.optional:
                raise ValueError(f"{where}: operand {one.name} is missing")
            if dtype is not None and dtype not in one.dtypes:
                raise ValueError(
                    f"{where}: {one.name} is {dtype}, expected {' or '.join(one.dtypes)}"
                )
        if set(attributes) != set(self.attribute_names):
            raise ValueError(
                f"{where}: attributes {sorted(attributes)}, expected {sorted(self.attribute_names)}"
            )

    def native_for(self, isa: str) -> NativeKernel | None:
        """The native function for a machine with this instruction set, if there is one."""
        has = isas_with(isa)
        fitting = [one for one in self.native if one.isa in has]
        return max(fitting, key=lambda one: has.index(one.isa), default=None)

    def workspace_size(self, shapes: Shapes) -> int:
        """The bytes of working memory for a call with operands and a result of these shapes."""
        return self.workspace(shapes) if callable(self.workspace) else self.workspace

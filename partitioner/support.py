"""What a plugin says about an operator: when the NPU takes it, and how it is lowered."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import DeviceValue, Graph, Node, QuantParams, Table
from furiosa_ep.partitioner.patterns import Pattern, PatternMatch

CHAIN = ("furiosa", "Chain")
"""Domain and type under which support for elementwise chains is registered."""


class DeclineCode(enum.StrEnum):
    """Why a node is not on the NPU: the closed set that tools can rely on."""

    NOT_REGISTERED = "not-registered"
    OPSET = "opset"
    MISSING_INPUT = "missing-input"
    DTYPE = "dtype"
    RANK = "rank"
    SHAPE = "shape"
    DYNAMIC_SHAPE = "dynamic-shape"
    ATTRIBUTE = "attribute"
    QUANT_PARAMS = "quant-params"
    NOT_QUANTIZED = "not-quantized"
    WEIGHTS_NOT_CONSTANT = "weights-not-constant"
    MEMORY_LIMIT = "memory-limit"
    NO_KERNEL = "no-kernel"
    NO_LOWERING = "no-lowering"
    COST = "cost"
    PLUGIN_ERROR = "plugin-error"
    DISABLED_BY_OPTION = "disabled-by-option"
    INTERNAL = "internal"


@dataclass(frozen=True)
class Decline:
    """Why a node unit stays with ONNX Runtime's CPU provider."""

    code: DeclineCode
    reason: str
    """What is required, and what was found instead."""
    mend: str = ""
    """What the model's author can do."""


@dataclass(frozen=True)
class Operand:
    """An input or output of a node unit as the NPU sees it."""

    name: str
    """The ONNX value on the NPU's side: the 8-bit input of the DequantizeLinear, the 8-bit output
    of the QuantizeLinear, or the value itself where there is neither. "" for an absent input."""
    params: QuantParams | None
    """Per-tensor quantization of an 8-bit value; None for others and for constants of the node."""
    scales: npt.NDArray[np.float32] | None = None
    """For a constant 8-bit operand: scale per tensor (shape []) or per channel (shape [n])."""
    zero_points: npt.NDArray[np.int64] | None = None
    """Like scales."""
    axis: int | None = None
    """The channel axis of per-channel scales."""


@dataclass(frozen=True, eq=False)
class NodeUnit:
    """What the NPU takes or leaves as a whole: a single node, a QDQ group, or a chain.

    A QDQ group is DequantizeLinear on the inputs, an operator or what a pattern takes as one (with
    the Relu or Clip that its QuantizeLinear makes redundant), and QuantizeLinear on the outputs.
    """

    node: Node
    """The operator itself: support is looked up by its domain and type."""
    nodes: tuple[Node, ...]
    """All nodes of the unit, `node` included, in topological order."""
    inputs: tuple[Operand, ...]
    """One per input of `node`, or of the pattern; of a chain: the different values that it reads,
    constants not."""
    outputs: tuple[Operand, ...]
    """One per output of `node`; of a chain: one per QuantizeLinear; of a pattern: one."""
    fused: tuple[str, str] | None = None
    """For several operators that are taken as one: the domain and type that they are known by, of
    a plugin's pattern or CHAIN; `node` is the last of them."""
    match: PatternMatch | None = None
    """Of what a plugin's pattern has fused: which nodes and values stand for the pattern's."""

    @property
    def pattern(self) -> Pattern | None:
        """What has fused the nodes, where they are several and no chain."""
        return self.match.pattern if self.match else None

    @property
    def chain(self) -> bool:
        """Whether this is an elementwise chain of float operators.

        ONNX Runtime does not fuse those with the DequantizeLinear before and the QuantizeLinear
        behind them.
        """
        return self.fused == CHAIN and self.match is None

    @property
    def key(self) -> tuple[str, str]:
        """Domain and type that support is looked up by."""
        return self.fused or (self.node.domain, self.node.op_type)

    @property
    def label(self) -> str:
        """How people find the unit."""
        return self.node.label


class Builder(Protocol):
    """What a lowering emits operations with.

    Shapes are concrete here, also where the model's are symbolic. Every method that returns a value
    works out its shape.
    """

    graph: Graph

    def value(self, operand: Operand | str) -> DeviceValue:
        """The device value of an ONNX value: a constant, or what an earlier lowering has set."""
        ...

    def set(self, operand: Operand | str, value: DeviceValue) -> None:
        """Declare `value` to be what an ONNX value holds."""
        ...

    def constant(self, array: npt.NDArray[Any], name: str = "") -> DeviceValue:
        """A constant operand: U8, I8, I16, I32 or F32 by the array's dtype."""
        ...

    def folded(self, name: str) -> npt.NDArray[Any] | None:
        """The array of an ONNX value that is constant or follows from shapes; None otherwise."""
        ...

    def emit(
        self,
        kind: str,
        inputs: Sequence[DeviceValue | None],
        shape: Sequence[int],
        dtype: Any = ...,
        *,
        signed: bool = False,
        **attributes: Any,
    ) -> DeviceValue:
        """Append an operation of a kind that docs/compiler.md lists; returns its output."""
        ...

    def call(
        self,
        opcode: str,
        inputs: Sequence[DeviceValue | None],
        shape: Sequence[int],
        dtype: Any = ...,
        *,
        params: Sequence[QuantParams | None] = (),
        y_params: QuantParams | None = None,
        **attributes: int | float,
    ) -> DeviceValue:
        """Append a call of a plugin's kernel; returns its output, U8 unless `dtype` is given.

        `params` are the quantizations of the inputs, `y_params` that of the output.
        """
        ...

    def table(self, unit: NodeUnit, channel_axis: int | None = None, output: int = 0) -> Table:
        """The table of one output of a unit that is a function of one 8-bit input.

        ONNX Runtime's CPU provider evaluates the unit's own nodes on all 256 codes (for each index
        of `channel_axis`), so that the table equals what the CPU provider would compute.
        """
        ...


class Constraint(Protocol):
    """A condition of an operator: None where it holds, else why not. Made by `constraint`."""

    code: DeclineCode
    __doc__: str | None
    __name__: str

    def __call__(self, unit: NodeUnit, graph: Graph) -> Decline | None:
        """None where the condition holds, else the reason."""
        ...


def constraint(
    code: DeclineCode, mend: str = ""
) -> Callable[[Callable[[NodeUnit, Graph], str | None]], Constraint]:
    """Make a constraint of a function that returns what was found, or None where all is well.

    Its docstring is the requirement, in one sentence: the user's message and the line in
    docs/operators.md.
    """

    def decorate(function: Callable[[NodeUnit, Graph], str | None]) -> Constraint:
        requirement = " ".join((function.__doc__ or "").split())

        def check(unit: NodeUnit, graph: Graph) -> Decline | None:
            found = function(unit, graph)
            if found is None:
                return None
            return Decline(code, f"{requirement} Found: {found}.", mend)

        check.code = code  # type: ignore[attr-defined]
        check.__doc__ = requirement
        check.__name__ = function.__name__
        return check  # type: ignore[return-value]

    return decorate


@dataclass(frozen=True)
class OperatorSupport:
    """One operator that the NPU takes: what is claimed is lowered by the same entry."""

    op_type: str
    """As models write it."""
    lower: Callable[[NodeUnit, Builder], None] | None = None
    """Emits the device operations of a unit; None where a `Lowering` does."""
    constraints: tuple[Constraint, ...] = ()
    """Checked in order; the first that fails is the reason."""
    domain: str = ""
    """The operator's domain; "" for ONNX's own."""
    since: int = 1
    """The lowest opset of the domain with the semantics that `lower` implements."""
    until: int | None = None
    """The highest one; None where all later opsets are fine."""
    priority: int = 0
    """Of two entries for the same operator and opset the higher one wins."""
    pattern: Pattern | None = None
    """The nodes that together are this operator, which then need not exist in any model: domain and
    type are names of the plugin's choice, and the opset is that of the pattern's last node. A
    pattern takes its nodes before operators that are one node; of patterns priority decides."""
    kernels: tuple[str, ...] = ()
    """The opcodes of the kernels that `lower` emits calls of."""
    owner: str = ""
    """The plugin; filled in by the plugin manager."""

"""One node of an ONNX graph, and what is known of a value's type."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from furiosa_ep.graph.element_type import NUMPY_DTYPES

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class TensorType:
    """Element type (as in onnx.TensorProto) and shape of a value, as far as they are known."""

    dtype: int
    shape: tuple[int | str | None, ...] | None
    """For each dim its size, the name of a symbolic one, or None; None if the rank is unknown."""

    @property
    def rank(self) -> int | None:
        """The number of dims, or None where it is unknown."""
        return None if self.shape is None else len(self.shape)

    @cached_property
    def size(self) -> int:
        """The bytes of the elements; 0 where they are not known."""
        dtype = NUMPY_DTYPES.get(self.dtype)
        known = [dim for dim in self.shape or () if isinstance(dim, int)]
        if dtype is None or self.shape is None or len(known) < len(self.shape):
            return 0
        return math.prod(known) * dtype.itemsize


@dataclass(frozen=True, eq=False)
class Node:
    """One ONNX node. `index` is its position in the model that it was read from."""

    index: int
    name: str
    op_type: str
    domain: str
    opset: int
    """The version of `domain` that the model imports."""
    inputs: tuple[str, ...]
    """Names of the values; "" for an optional input that is absent."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    """By name: int, float, str, lists of them, ndarray for a tensor; bytes for what else there is,
    such as the GraphProto of a subgraph."""
    captured: frozenset[str] | None
    """The values that its subgraphs read from outside; None where it has no subgraph."""
    message: memoryview
    """The serialized NodeProto."""

    @property
    def proto(self) -> "onnx.NodeProto":
        """The NodeProto, read anew."""
        import onnx

        proto = onnx.NodeProto()
        proto.ParseFromString(bytes(self.message))
        return proto

    def input(self, position: int) -> str:
        """The name of one input, "" where it is absent."""
        return self.inputs[position] if position < len(self.inputs) else ""

    @property
    def label(self) -> str:
        """How people find the node: its name, or its type and first output."""
        return self.name or f"{self.op_type}({next(filter(None, self.outputs), '')})"

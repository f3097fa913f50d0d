"""Scale sets while a model is walked through: which channels of which values belong together."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from furiosa_ep.quantization.optimize.editing import EditableGraph

Sets: TypeAlias = npt.NDArray[np.intp]
"""The number of the set of each element of a value, in a shape that broadcasts to the value's."""

Begin: TypeAlias = Literal["layers", "norms"]

FIXED = 0
"""The set of what cannot be scaled."""
NONE = np.full(1, FIXED)


@dataclass(frozen=True)
class ScaledConstant:
    """A constant that is added to a value, or makes it, and so is scaled like it."""

    node: onnx.NodeProto
    position: int
    sets: Sets
    divisors: Sets
    """The sets by whose factors it is divided: fixed ones, but for the constant of a place."""


def is_limit(reader: onnx.NodeProto | None) -> bool:
    """Whether a value has no range of its own, for this alone reads it."""
    return reader is not None and not reader.domain and reader.op_type in ("Relu", "Clip")


class ScaleState:
    """The sets of values so far, which can be joined."""

    def __init__(
        self,
        graph: EditableGraph,
        begin: Begin,
        measured: Container[str] | None,
        places: Mapping[str, bool],
    ) -> None:
        self.graph, self.begin, self.measured, self.places = graph, begin, measured, places
        self.parents = [FIXED]
        self.values_seen: dict[str, Sets] = {}
        self.constants_added: list[ScaledConstant] = []

    def of(self, name: str) -> Sets:
        """The sets of a value."""
        return self.roots(self.sets(name))

    def sets(self, name: str) -> Sets:
        """The sets of a value; inputs and constants are fixed."""
        if name not in self.values_seen:
            rank = self.graph.rank(name)
            return np.full([1] * (rank or 0), FIXED)
        return self.values_seen[name]

    def along(self, name: str, axis: int, length: int) -> Sets:
        """The sets along one axis; those that differ along others become one."""
        sets = np.moveaxis(self.sets(name), axis, 0)
        flat = sets.reshape(sets.shape[0], -1)
        for column in flat.T[1:]:
            self.join(flat[:, 0], column)
        return np.broadcast_to(flat[:, 0], length)

    def fresh(self, count: int) -> Sets:
        """New sets."""
        start = len(self.parents)
        self.parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def fix(self, name: str) -> None:
        """Let no channel of a value be scaled."""
        self.join(self.sets(name), np.array(FIXED))

    def join(self, first: Sets, second: Sets) -> None:
        """Make one set of each two that meet by broadcasting."""
        pairs = np.stack([one.ravel() for one in np.broadcast_arrays(first, second)])
        for a, b in np.unique(pairs, axis=1).T.tolist():
            low, high = sorted((self._root(a), self._root(b)))
            self.parents[high] = low

    def _root(self, number: int) -> int:
        while self.parents[number] != number:
            self.parents[number] = self.parents[self.parents[number]]
            number = self.parents[number]
        return number

    def roots(self, sets: Sets) -> Sets:
        """The numbers by which joined sets are known."""
        return np.array([self._root(int(one)) for one in sets.flat], np.intp).reshape(sets.shape)

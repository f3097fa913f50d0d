"""Strided views of buffers: how ONNX's movements of data become addressing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from furiosa_ep.program import DType, Storage

Shape = tuple[int, ...]


@dataclass(eq=False, slots=True)
class Buffer:
    """Bytes that views lie in: an input, an output, the constants, or a part of the arena."""

    storage: Storage
    size: int
    index: int = 0
    """Which input or output it is."""
    offset: int = 0
    """Where it begins in the arena; the memory plan decides."""
    first: int = -1
    """The first command that uses it; -1 while none does."""
    last: int = -1
    """The last command that uses it."""


@dataclass(frozen=True, slots=True)
class View:
    """Elements of a buffer by their indices in ONNX's axis order."""

    buffer: Buffer
    dtype: DType
    dims: Shape
    strides: Shape
    """In elements."""
    offset: int = 0
    """Bytes from the start of the buffer to the element with all indices zero."""

    @classmethod
    def dense(cls, buffer: Buffer, dtype: DType, dims: Shape, order: Sequence[int] = ()) -> "View":
        """All of a buffer, without gaps.

        `order` lists the axes from the outermost in memory to the innermost; ONNX's order where it
        is empty.
        """
        strides = [0] * len(dims)
        step = 1
        for axis in reversed(order or range(len(dims))):
            strides[axis] = step
            step *= dims[axis]
        return cls(buffer, dtype, dims, tuple(strides))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.dims)

    def transpose(self, perm: Sequence[int]) -> "View":
        """The view with its axes permuted: axis i is axis perm[i] of this one."""
        return replace(
            self,
            dims=tuple(self.dims[axis] for axis in perm),
            strides=tuple(self.strides[axis] for axis in perm),
        )

    def slice(self, starts: Sequence[int], dims: Shape, steps: Sequence[int] = ()) -> "View":
        """The elements from `starts` on, `dims` of them, one of every `steps`."""
        steps = steps or (1,) * len(dims)
        moved = sum(start * stride for start, stride in zip(starts, self.strides, strict=True))
        return replace(
            self,
            dims=dims,
            strides=tuple(s * step for s, step in zip(self.strides, steps, strict=True)),
            offset=self.offset + moved * self.dtype.numpy.itemsize,
        )

    def expand(self, dims: Shape) -> "View":
        """The view broadcast to `dims` by NumPy's rules."""
        missing = len(dims) - len(self.dims)
        strides = (0,) * missing + tuple(
            0 if own == 1 and dim != 1 else stride
            for own, dim, stride in zip(self.dims, dims[missing:], self.strides, strict=True)
        )
        return replace(self, dims=dims, strides=strides)

    def reshape(self, dims: Shape) -> "View | None":
        """The view with other dims and the same elements in order; None where no strides do it."""
        strides = reshaped_strides(self.dims, self.strides, dims)
        return None if strides is None else replace(self, dims=dims, strides=strides)

    def same_place(self, other: "View") -> bool:
        """Whether every element of the two has the same address."""
        return (
            self.buffer is other.buffer
            and self.dims == other.dims
            and self.offset == other.offset
            and all(
                a == b or dim == 1
                for a, b, dim in zip(self.strides, other.strides, self.dims, strict=True)
            )
        )

    def extent(self) -> tuple[int, int]:
        """The bytes of the buffer from the first to behind the last one of the elements."""
        item = self.dtype.numpy.itemsize
        reaches = [
            (dim - 1) * stride * item for dim, stride in zip(self.dims, self.strides, strict=True)
        ]
        begin = self.offset + sum(reach for reach in reaches if reach < 0)
        return begin, begin + sum(map(abs, reaches)) + item

    def touches(self, other: "View") -> bool:
        """Whether bytes of one lie between the first and the last element of the other."""
        (begin, end), (other_begin, other_end) = self.extent(), other.extent()
        return self.buffer is other.buffer and begin < other_end and other_begin < end

    def memory_order(self) -> Shape:
        """The axes from the outermost in memory to the innermost.

        Axes of stride 0 are outermost, those of one element beside their neighbours in ONNX's
        order.
        """
        strides = [abs(stride) for stride in self.strides]
        inner = 1
        for axis in reversed(range(len(strides))):
            if self.dims[axis] == 1:
                strides[axis] = inner
            inner = strides[axis]
        return tuple(
            sorted(range(len(strides)), key=lambda axis: (-strides[axis] or -math.inf, axis))
        )


def reshaped_strides(dims: Shape, strides: Shape, new: Shape) -> Shape | None:
    """The strides with which dims `new` enumerate the same elements; None where none do."""
    if 0 in new:
        return View.dense(Buffer(Storage.ARENA, 0), DType.U8, new).strides
    old = [(dim, stride) for dim, stride in zip(dims, strides, strict=True) if dim != 1]
    merged: list[tuple[int, int]] = []
    """Runs of elements with one stride, outermost first."""
    for dim, stride in old:
        if merged and merged[-1][1] == dim * stride:
            merged[-1] = (merged[-1][0] * dim, stride)
        else:
            merged.append((dim, stride))
    result = [0] * len(new)
    axis = len(new) - 1
    step = 1
    for count, stride in reversed(merged):
        taken = 1
        while taken < count:
            if axis < 0 or count % (taken * new[axis]):
                return None
            result[axis] = taken * stride
            taken *= new[axis]
            axis -= 1
            step = taken * stride
    while axis >= 0:
        result[axis] = step
        axis -= 1
    return tuple(result)


def collapse(
    dims: Sequence[int], strides: Sequence[Sequence[int]], *, keep_last: bool = False
) -> tuple[Shape, list[Shape]]:
    """Fewer dims that visit the same elements in the same order in several views at once.

    `dims` go from the outermost to the innermost, `strides` are those of each view. Dims of one
    element vanish, neighbours merge where all views allow it. With `keep_last` the last dim stays
    as it is. At least one dim is left.
    """
    kept: list[int] = []
    rows: list[list[int]] = [[] for _ in strides]
    last = len(dims) - 1
    for axis, dim in enumerate(dims):
        fixed = keep_last and axis == last
        if dim == 1 and not fixed:
            continue
        own = [row[axis] for row in strides]
        mergeable = bool(kept) and not fixed
        if mergeable and all(
            row[-1] == dim * stride for row, stride in zip(rows, own, strict=True)
        ):
            kept[-1] *= dim
            for row, stride in zip(rows, own, strict=True):
                row[-1] = stride
        else:
            kept.append(dim)
            for row, stride in zip(rows, own, strict=True):
                row.append(stride)
    if not kept:
        return (1,), [(1,) for _ in strides]
    return tuple(kept), [tuple(row) for row in rows]

"""Samples that are kept in NumPy files: a folder with a file for each, or one file with all."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.samples import Array, Feed

ENDINGS = (".npy", ".npz")


class ArrayFiles:
    """The samples in a folder or a file; they are read whenever they are asked for.

    A folder has one file for each sample, taken in the order of their names: .npz with an array
    for each input, or .npy for a model of one input. A single file has all samples in each of its
    arrays, along a first axis of their own or along that of the batch; samples that do not fill the
    last batch are left out. Arrays that are no inputs, such as labels, are not looked at.

    Raises:
        QuantizationError: where there are no such files, or they do not have the inputs.
    """

    def __init__(self, path: str | Path, inputs: Sequence[onnx.ValueInfoProto]) -> None:
        self._inputs = inputs
        self._stacks: dict[str, Array] = {}
        self._paths: list[Path] = []
        if Path(path).is_dir():
            self._paths = sorted(p for p in Path(path).iterdir() if p.suffix in ENDINGS)
            self._count = len(self._paths)
        else:
            self._stacks = _load(Path(path), inputs)
            counts = {name: self._length(name) for name in self._stacks}
            if len({*counts.values()}) > 1:
                raise QuantizationError(
                    f"{path}: the arrays have different numbers of samples: "
                    + ", ".join(f"{name} {count}" for name, count in counts.items())
                )
            self._count = min(counts.values())
        if not self._count:
            raise QuantizationError(f"no samples in {path}: expected .npy or .npz files")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Feed]:
        for path in self._paths:
            arrays = _load(path, self._inputs)
            yield {name: _batched(array, self._rank(name)) for name, array in arrays.items()}
        for number in range(self._count if self._stacks else 0):
            yield {name: self._sample(name, number) for name in self._stacks}

    def _sample(self, name: str, number: int) -> Array:
        stack, batch = self._stacks[name], self._batch(name)
        return stack[number * batch : (number + 1) * batch] if batch else stack[number]

    def _length(self, name: str) -> int:
        stack = self._stacks[name]
        return len(stack) // (self._batch(name) or 1) if stack.ndim else 0

    def _batch(self, name: str) -> int:
        """How many of the stack make up a sample; 0 where it has an axis for the samples."""
        rank = self._rank(name)
        if rank is None or self._stacks[name].ndim != rank:
            return 0
        return self._shape(name).dim[0].dim_value or 1

    def _rank(self, name: str) -> int | None:
        value = next(value for value in self._inputs if value.name == name)
        known = value.type.tensor_type.HasField("shape")
        return len(self._shape(name).dim) if known else None

    def _shape(self, name: str) -> onnx.TensorShapeProto:
        value = next(value for value in self._inputs if value.name == name)
        return value.type.tensor_type.shape


def _batched(array: Array, rank: int | None) -> Array:
    """The array, with an axis for the batch where that alone is missing."""
    return array[None] if rank == array.ndim + 1 else array


def _load(path: Path, inputs: Sequence[onnx.ValueInfoProto]) -> dict[str, Array]:
    """The array of each input that a file has."""
    try:
        loaded: Any = np.load(path, mmap_mode="r")
        if isinstance(loaded, np.ndarray):
            return _named({"": loaded}, inputs, path)
        with loaded:
            return _named(loaded, inputs, path)
    except QuantizationError:
        raise
    except Exception as error:  # OSError, ValueError, EOFError, zipfile's and zlib's own
        raise QuantizationError(
            f"cannot read {path}: {error}; expected an .npy or .npz file of numbers"
        ) from error


def _named(
    loaded: Mapping[str, Array], inputs: Sequence[onnx.ValueInfoProto], path: Path
) -> dict[str, Array]:
    names = [value.name for value in inputs]
    if all(name in loaded for name in names):
        return {name: loaded[name] for name in names}
    if len(names) == len(loaded) == 1:
        return {names[0]: next(iter(loaded.values()))}
    found = f"the arrays {', '.join(loaded)}" if any(loaded) else f"{len(loaded)} array"
    raise QuantizationError(
        f"{path} has {found}, the model has the inputs {', '.join(names)}: "
        "give .npz files with an array for each input"
    )

"""Command-line options for the samples that a model runs on."""

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from furiosa_ep.cli.options import add_shape_options
from furiosa_ep.partitioner.descriptors import CommandError

if TYPE_CHECKING:
    import onnx

    from furiosa_ep.quantization import CalibrationData
    from furiosa_ep.quantization.array_files import ArrayFiles
    from furiosa_ep.quantization.samples import Feed


def add_data_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the option of this name for files of samples, `--random` and `--limit`."""
    group = parser.add_argument_group("samples of what the model will see")
    group.add_argument(
        name,
        dest="data",
        metavar="PATH",
        type=Path,
        help="a folder of .npy or .npz files, one for each sample, or one such file with all",
    )
    group.add_argument(
        "--random",
        type=positive,
        metavar="N",
        help="N random samples instead, to try things out: figures of accuracy then mean nothing",
    )
    group.add_argument("--limit", type=positive, metavar="N", help="take the first N samples only")
    group.add_argument("--seed", type=int, default=0, help="of the random samples (0)")
    add_shape_options(parser)


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)


def data_of(arguments: argparse.Namespace, model: "onnx.ModelProto") -> "CalibrationData":
    """The samples that the arguments name, to be gone through any number of times.

    There are none where no argument names any.

    Raises:
        CommandError: for both files and random samples, and where random ones cannot be made.
        QuantizationError: where files cannot be read or do not fit the inputs.
    """
    from furiosa_ep.quantization import get_pure_input_names
    from furiosa_ep.quantization.array_files import ArrayFiles

    names = get_pure_input_names(model)
    inputs = [value for value in model.graph.input if value.name in names]
    if arguments.data is None and arguments.random is None:
        return ()
    if arguments.data is None:
        return _Random(inputs, arguments.random, arguments.seed, dict(arguments.shape))
    if arguments.random is not None:
        raise CommandError("samples from files or --random, not both")
    samples = ArrayFiles(arguments.data, inputs)
    return samples if arguments.limit is None else _First(samples, arguments.limit)


class _First:
    """The first ones of some samples."""

    def __init__(self, samples: "ArrayFiles", limit: int) -> None:
        self._samples, self._limit = samples, limit

    def __len__(self) -> int:
        return min(len(self._samples), self._limit)

    def __iter__(self) -> "Iterator[Feed]":
        return itertools.islice(self._samples, self._limit)


class _Random:
    """Random samples, the same ones each time."""

    def __init__(
        self,
        inputs: "Sequence[onnx.ValueInfoProto]",
        count: int,
        seed: int,
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        self._inputs = [_Input.of(value) for value in inputs]
        self._count, self._seed, self._shapes = count, seed, shapes

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> "Iterator[Feed]":
        from furiosa_ep.inputs import InputError, random_feeds

        try:
            yield from random_feeds(self._inputs, self._count, self._seed, self._shapes)
        except InputError as error:
            raise CommandError(str(error)) from error


class _Input(NamedTuple):
    """An input as ONNX Runtime would describe it."""

    name: str
    type: str
    shape: Sequence[int | str | None]

    @classmethod
    def of(cls, value: "onnx.ValueInfoProto") -> "_Input":
        import onnx

        kind = value.type.tensor_type
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        dims = [dim.dim_value or dim.dim_param or None for dim in kind.shape.dim]
        return cls(value.name, f"tensor({name})", dims)

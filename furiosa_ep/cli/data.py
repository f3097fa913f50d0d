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


IMAGE_OPTIONS = ("preprocessing", "size", "resize", "central", "color", "scale", "mean", "std")


def add_data_options(parser: argparse.ArgumentParser, name: str, limit: int | None = None) -> None:
    """Add the option of this name for files of samples, and what goes with it."""
    group = parser.add_argument_group("samples of what the model will see")
    group.add_argument(
        name,
        dest="data",
        metavar="PATH",
        type=Path,
        help="a folder of images or of .npy or .npz files, or one such file with all samples",
    )
    group.add_argument(
        "--random",
        type=positive,
        metavar="N",
        help="N random samples instead, to try things out: figures of accuracy then mean nothing",
    )
    group.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        default=limit,
        help="take N samples only" + (f" ({limit})" if limit else ""),
    )
    group.add_argument("--seed", type=int, default=0, help="of the random samples (0)")
    add_shape_options(parser)
    images = parser.add_argument_group("images", "docs/quantization.md describes these")
    images.add_argument("--preprocessing", metavar="NAME", help="unit, raw, imagenet, ... (unit)")
    images.add_argument(
        "--size", type=_size, metavar="HxW", help="where the model leaves the size open"
    )
    images.add_argument("--resize", help="stretch, crop or letterbox")
    images.add_argument("--central", type=float, help="the share around the center that is kept")
    images.add_argument("--color", help="RGB, BGR or L")
    images.add_argument("--scale", type=float, help="what pixels are multiplied with first")
    for one in ("mean", "std"):
        images.add_argument(f"--{one}", type=_numbers, metavar="X[,X,X]", help="of each channel")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return positive(height), positive(width or height)


def _numbers(text: str) -> float | list[float]:
    try:
        found = [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers like 0.5,0.5,0.5") from None
    return found if len(found) > 1 else found[0]


def data_of(arguments: argparse.Namespace, model: "onnx.ModelProto") -> "CalibrationData":
    """The samples that the arguments name, to be gone through any number of times.

    There are none where no argument names any.

    Raises:
        CommandError: for both files and random samples, for options of images where there are
            none, and where random samples cannot be made.
        QuantizationError: where files cannot be read or do not fit the inputs.
    """
    from furiosa_ep.quantization import get_pure_input_names
    from furiosa_ep.quantization.array_files import ENDINGS, ArrayFiles
    from furiosa_ep.quantization.readers import ImageFolder

    path: Path | None = arguments.data
    names = get_pure_input_names(model)
    inputs = [value for value in model.graph.input if value.name in names]
    options = {
        name: getattr(arguments, name)
        for name in IMAGE_OPTIONS
        if getattr(arguments, name) is not None
    }
    if path is not None and arguments.random is not None:
        raise CommandError("samples from files or --random, not both")
    if path is not None and path.is_dir() and not any(p.suffix in ENDINGS for p in path.iterdir()):
        return ImageFolder.for_model(model, path, limit=arguments.limit, **options)
    if options:
        raise CommandError(f"--{next(iter(options))} is for folders of images, and there is none")
    if path is None:
        random = arguments.random
        return _Random(inputs, random, arguments.seed, dict(arguments.shape)) if random else ()
    samples = ArrayFiles(path, inputs)
    return samples if arguments.limit is None else _First(samples, arguments.limit)


def data_words(arguments: argparse.Namespace, name: str) -> list[str]:
    """The arguments with which another command, whose option has this name, takes the samples."""
    words = [] if arguments.data is None else [name, str(arguments.data)]
    for option in ("random", *IMAGE_OPTIONS):
        value = getattr(arguments, option)
        if value is not None:
            separator = "x" if option == "size" else ","
            text = separator.join(map(str, value)) if isinstance(value, list | tuple) else value
            words += [f"--{option}", str(text)]
    for input_name, shape in arguments.shape:
        words += ["--shape", f"{input_name}={','.join(map(str, shape))}"]
    return words


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

"""Calibration data from folders of images, and in batches."""

import math
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from furiosa_ep.quantization.editor import get_pure_input_names
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.images import PREPROCESSING, Preprocessing
from furiosa_ep.quantization.loading import ModelLike, load_model
from furiosa_ep.quantization.samples import (
    Array,
    CalibrationData,
    items,
    known_length,
    passes_once,
    shape_text,
)

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Of the files that are taken for images, in upper case as well."""

T = TypeVar("T")
Layout = Literal["NCHW", "NHWC"]


class ImageFolder:
    """The images of a folder and of those within, as calibration data, as often as needed.

    Each sample is an array of `batch` images in the order of their paths, or a dict from
    `input_name` to it if that is given. The last batch is filled up with the first images.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int | tuple[int, int],
        preprocessing: str | Preprocessing = "unit",
        *,
        input_name: str | None = None,
        layout: Layout = "NCHW",
        batch: int = 1,
        limit: int | None = None,
        dtype: npt.DTypeLike = np.float32,
        **options: Any,
    ) -> None:
        """Images of this height and width.

        `preprocessing` is a name in `PREPROCESSING` or a `Preprocessing`; `options` are fields of
        it that are different. `limit` is how many images are taken, evenly from the whole folder.

        Raises:
            QuantizationError: for a folder that is absent or has no images, and for options that
                make no sense. While iterating, for an image that cannot be read.
        """
        height, width = (size, size) if isinstance(size, int) else size
        numbers = {
            "height": height,
            "width": width,
            "batch": batch,
            "limit": 1 if limit is None else limit,
        }
        for what, number in numbers.items():
            if number < 1:
                raise QuantizationError(f"images: {what}={number}: expected 1 or more")
        if layout not in ("NCHW", "NHWC"):
            raise QuantizationError(f"images: layout={layout!r}: expected one of NCHW, NHWC")
        self.preprocessing = _find_preprocessing(preprocessing, options)
        self._files = _evenly(_image_files(Path(folder)), limit)
        self._size, self._layout, self._batch = (height, width), layout, batch
        self._name, self._dtype = input_name, np.dtype(dtype)

    @classmethod
    def for_model(
        cls,
        model: ModelLike,
        folder: str | Path,
        preprocessing: str | Preprocessing = "unit",
        *,
        size: int | tuple[int, int] | None = None,
        batch: int | None = None,
        limit: int | None = None,
        **options: Any,
    ) -> "ImageFolder":
        """Images for the input of a model, from which layout, color or luma, and dtype follow.

        `size` and `batch` follow as well unless the model leaves them open; the batch is 1 then.

        Raises:
            QuantizationError: where the model has not one input for images, takes another size or
                batch or leaves the size open, and for what `ImageFolder` refuses.
        """
        form = _image_input(load_model(model))
        if size is None and (form.height is None or form.width is None):
            raise QuantizationError(
                f"input {form.name!r} is {form.shape} and takes images of any size: give the size"
            )
        height, width = (size, size) if size is None or isinstance(size, int) else size
        asked = {"height": height, "width": width, "batch": batch}
        for what, number in asked.items():
            known = getattr(form, what)
            if None not in (number, known) and number != known:
                raise QuantizationError(
                    f"images: {what}={number}: input {form.name!r} takes {known} ({form.shape})"
                )
        chosen = _find_preprocessing(preprocessing, options)
        if form.channels == 1 and "color" not in options:
            chosen = _gray(chosen)
        if form.channels != chosen.channels:
            raise QuantizationError(
                f"images: color={chosen.color!r}: input {form.name!r} takes {form.channels} "
                f"channels ({form.shape})"
            )
        return cls(
            folder,
            (height or form.height or 1, width or form.width or 1),
            chosen,
            input_name=form.name,
            layout=form.layout,
            batch=batch or form.batch or 1,
            limit=limit,
            dtype=form.dtype,
        )

    def __len__(self) -> int:
        return math.ceil(len(self._files) / self._batch)

    def __iter__(self) -> Iterator[Array | dict[str, Array]]:
        files = _filled(self._files, self._batch)
        while batch := list(islice(files, self._batch)):
            pixels = np.stack([self.preprocessing.pixels(path, self._size) for path in batch])
            images = self.preprocessing.normalize(pixels, self._dtype)
            if self._layout == "NCHW":
                images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
            yield images if self._name is None else {self._name: images}


def batched(data: CalibrationData, size: int) -> Iterable[Array | dict[str, Array]]:
    """Samples that are each `size` of the given ones, joined along the first dimension.

    The last batch is filled up with the first samples. The result can be iterated over as often as
    `data`.

    Raises:
        QuantizationError: for a size below 1, and while iterating, for samples that do not join.
    """
    if size < 1:
        raise QuantizationError(f"batches of {size} samples: expected 1 or more")
    batches = _Batches(data, size)
    return iter(batches) if passes_once(data) else batches


class _Batches:
    def __init__(self, data: CalibrationData, size: int) -> None:
        self._data, self._size = data, size

    def __length_hint__(self) -> int:
        return math.ceil(known_length(self._data) / self._size)

    def __iter__(self) -> Iterator[Array | dict[str, Array]]:
        samples = _filled(map(deepcopy, items(self._data)), self._size)  # readers use memory again
        number = 0
        while batch := list(islice(samples, self._size)):
            try:
                yield _joined(batch)
            except ValueError as error:
                raise QuantizationError(
                    f"calibration samples {number} to {number + self._size - 1} do not make a "
                    f"batch: {error}"
                ) from error
            number += self._size


class _ImageInput(NamedTuple):
    """What an input says of its images; None is open."""

    name: str
    shape: str
    layout: Layout
    batch: int | None
    channels: int
    height: int | None
    width: int | None
    dtype: np.dtype[Any]


def _image_input(model: onnx.ModelProto) -> _ImageInput:
    names = get_pure_input_names(model)
    values = [value for value in model.graph.input if value.name in names]
    if len(values) != 1:
        raise QuantizationError(
            f"the model has the inputs {', '.join(names)}, and images are for one alone: give "
            "dicts from input name to array"
        )
    kind = values[0].type.tensor_type
    shape = shape_text(kind.shape)
    sizes = [dim.dim_value or None for dim in kind.shape.dim]
    layouts: dict[Layout, tuple[int, int, int]] = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2)}
    for layout, (channels, height, width) in layouts.items():
        if len(sizes) == 4 and sizes[channels] in (1, 3):
            return _ImageInput(
                names[0],
                shape,
                layout,
                sizes[0],
                sizes[channels] or 1,
                sizes[height],
                sizes[width],
                helper.tensor_dtype_to_np_dtype(kind.elem_type),
            )
    raise QuantizationError(
        f"input {names[0]!r} is {shape or 'a scalar'}: expected images of 1 or 3 channels, NCHW or "
        "NHWC; give arrays instead of a folder"
    )


def _find_preprocessing(given: str | Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    if isinstance(given, str):
        if given not in PREPROCESSING:
            raise QuantizationError(
                f"preprocessing {given!r}: expected one of {', '.join(PREPROCESSING)}, or a "
                "Preprocessing"
            )
        given = PREPROCESSING[given]
    known = [field.name for field in fields(Preprocessing)]
    for name in options.keys() - known:
        raise QuantizationError(
            f"preprocessing option {name!r}: expected one of {', '.join(known)}"
        )
    return replace(given, **options)


def _gray(given: Preprocessing) -> Preprocessing:
    mean, std = (float(np.mean(numbers)) for numbers in (given.mean, given.std))
    return replace(given, color="L", mean=mean, std=std)


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise QuantizationError(
            f"no folder of images at {folder}" + (": it is a file" if folder.exists() else "")
        )
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise QuantizationError(
            f"no images in {folder}: expected files that end in {', '.join(sorted(SUFFIXES))}"
        )
    return found


def _evenly(files: list[Path], limit: int | None) -> list[Path]:
    """As many of them, from everywhere: a folder's first images are often of one kind."""
    count = min(len(files), limit or len(files))
    return [files[number * len(files) // count] for number in range(count)]


def _filled(source: Iterable[T], size: int) -> Iterator[T]:
    """The items, and the first ones again until their number is a multiple of the size."""
    first: list[T] = []
    count = 0
    for item in source:
        if len(first) < size:
            first.append(item)
        count += 1
        yield item
    if first:
        yield from islice(cycle(first), -count % size)


def _joined(batch: list[npt.ArrayLike | Mapping[str, npt.ArrayLike]]) -> Array | dict[str, Array]:
    dicts = [sample for sample in batch if isinstance(sample, Mapping)]
    if not dicts:
        return np.concatenate(cast(list[Array], batch))
    if any(sample.keys() != dicts[0].keys() for sample in dicts) or len(dicts) < len(batch):
        raise ValueError("they have different inputs")
    return {
        name: np.concatenate([np.asarray(sample[name]) for sample in dicts]) for name in dicts[0]
    }

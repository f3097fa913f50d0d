"""Images to calibrate and to test on: labelled sets and photographs of ../shared/models."""

import gzip
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.accuracy.tasks import Array

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"

PACKAGES = {
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"),
    "sklearn": ("china.jpg", "flower.jpg"),
}
"""Photographs that scikit-image and scikit-learn bring, by the name of the import package."""

CALIBRATING = frozenset(
    ["astronaut", "china", "coffee", "coral_cat", "coral_parrot", "furiosa_car", "motorcycle_left"]
)
"""Photographs that are for calibration; the others are for tests."""


def labelled(name: str) -> tuple[Array, Array]:
    """Images of a labelled set, uint8 NCHW, and their labels."""
    with np.load(SHARED / "data" / f"{name}.npz") as data:
        return data["x"].transpose(0, 3, 1, 2), data["y"]


def digits() -> tuple[Array, Array]:
    """The test set of MNIST: uint8 [10000, 1, 28, 28], and labels."""
    return _idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28), _idx(
        "t10k-labels-idx1-ubyte.gz", 8
    )


def _idx(name: str, offset: int) -> Array:
    with gzip.open(SHARED / "data" / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def photographs(calibrating: bool) -> list[Image.Image]:
    """The photographs at hand, for calibration or for tests."""
    found = {path.stem: path for path in _paths() if (path.stem in CALIBRATING) == calibrating}
    return [_load(found[stem]) for stem in sorted(found)]


def _paths() -> Iterator[Path]:
    yield from SHARED.glob("data/*.jpg")
    for package, names in PACKAGES.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for name in names:
            yield from Path(spec.origin).parent.rglob(f"*/{name}")


@cache
def _load(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def crops(calibrating: bool, height: int, width: int, count: int) -> Iterator[Array]:
    """Parts of the photographs in many sizes, some mirrored: uint8 [3, height, width], RGB.

    Parts are as wide as high for a square, and never stretched otherwise either.
    """
    random = np.random.default_rng(0 if calibrating else 1)
    photos = photographs(calibrating)
    for index in range(count):
        photo = photos[index % len(photos)]
        size = random.uniform(0.4, 1) * min(photo.width / width, photo.height / height)
        w, h = int(width * size), int(height * size)
        left = int(random.integers(0, photo.width - w + 1))
        top = int(random.integers(0, photo.height - h + 1))
        box = (left, top, left + w, top + h)
        part = photo.resize((width, height), Image.Resampling.BILINEAR, box)
        if random.integers(2):
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        yield np.asarray(part).transpose(2, 0, 1)

"""Images as models take them: size, color and scale of their pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from furiosa_ep.quantization.errors import QuantizationError

if TYPE_CHECKING:
    from PIL import Image

Resize = Literal["stretch", "crop", "letterbox"]
Color = Literal["RGB", "BGR", "L"]
PerChannel = float | Sequence[float]


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of an image: (pixel × scale − mean) / std, after it got its size.

    Raises:
        QuantizationError: for another value than those that are described.
    """

    resize: Resize = "stretch"
    """"stretch" to the size whatever the proportions, "crop" what is too long at both ends, or
    "letterbox" with bars at both ends. Bilinear, with pixels averaged where there are too many."""
    central: float = 1.0
    """The share of width and height around the center that is kept before, at most 1: 0.875 for
    those who resize to 256 and crop to 224."""
    fill: int = 114
    """The pixels of bars."""
    color: Color = "RGB"
    """The order of channels; "L" is one channel of luma."""
    scale: float | None = None
    """1/255 if not given; 1 where the model takes integers."""
    mean: PerChannel = 0.0
    """One number, or one for each channel in the order of `color`; so is `std`."""
    std: PerChannel = 1.0

    def __post_init__(self) -> None:
        for field, choices in (("resize", get_args(Resize)), ("color", get_args(Color))):
            if getattr(self, field) not in choices:
                raise _refused(field, getattr(self, field), f"one of {', '.join(choices)}")
        if not 0 < self.central <= 1:
            raise _refused("central", self.central, "a share above 0 and at most 1")
        if not 0 <= self.fill <= 255:
            raise _refused("fill", self.fill, "a pixel from 0 to 255")
        for field in ("mean", "std"):
            given = np.asarray(getattr(self, field))
            if given.shape not in ((), (1,), (self.channels,)):
                number = f"one number, or {self.channels} for {self.color}"
                raise _refused(field, getattr(self, field), number)
        if not np.all(self.std):
            raise _refused("std", self.std, "no zero")

    @property
    def channels(self) -> int:
        """How many channels a pixel has."""
        return 1 if self.color == "L" else 3

    def pixels(self, path: Path, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """The pixels of an image file in this height and width, channels last.

        The image is turned the way its camera says it was held.

        Raises:
            QuantizationError: where the file holds no image that Pillow reads, and without Pillow.
        """
        try:
            from PIL import Image, ImageOps
        except ImportError:
            raise QuantizationError(
                "Pillow, which reads images, is not installed: pip install furiosa-ep[quantization]"
            ) from None
        try:
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(_in_bytes(opened))
                resized = self._resized(image.convert("L" if self.color == "L" else "RGB"), size)
        except Exception as error:  # Pillow's decoders raise what they like
            raise QuantizationError(f"cannot read the image {path}: {error}") from error
        found: npt.NDArray[np.uint8] = np.asarray(resized).reshape(*size, self.channels)
        return found[..., ::-1] if self.color == "BGR" else found

    def normalize(self, pixels: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """The numbers that the model takes, with channels last."""
        integers = dtype.kind in "iu"
        scale = self.scale if self.scale is not None else 1.0 if integers else 1 / 255
        numbers: npt.NDArray[Any] = (pixels * scale - np.asarray(self.mean)) / np.asarray(self.std)
        if integers:
            limits = np.iinfo(dtype)
            numbers = np.rint(numbers).clip(limits.min, limits.max)
        return numbers.astype(dtype)

    def _resized(self, image: "Image.Image", size: tuple[int, int]) -> "Image.Image":
        from PIL import Image

        height, width = size
        kept_width, kept_height = image.width * self.central, image.height * self.central
        if self.resize == "crop":
            kept_width, kept_height = (
                min(kept_width, kept_height * width / height),
                min(kept_height, kept_width * height / width),
            )
        elif self.resize == "letterbox":
            factor = min(width / kept_width, height / kept_height)
            width, height = (max(1, round(kept * factor)) for kept in (kept_width, kept_height))
        left, top = (image.width - kept_width) / 2, (image.height - kept_height) / 2
        box = (left, top, left + kept_width, top + kept_height)
        resized = image.resize((width, height), Image.Resampling.BILINEAR, box)
        if (height, width) == size:
            return resized
        barred = Image.new(image.mode, size[::-1], (self.fill,) * len(image.getbands()))
        barred.paste(resized, ((size[1] - width) // 2, (size[0] - height) // 2))
        return barred


PREPROCESSING: Mapping[str, Preprocessing] = MappingProxyType(
    {
        "unit": Preprocessing(),
        "raw": Preprocessing(scale=1.0),
        "signed": Preprocessing(scale=1.0, mean=127.5, std=127.5),
        "imagenet": Preprocessing(
            "crop", 0.875, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
        ),
        "yolo": Preprocessing("letterbox"),
    }
)
"""What is common: 0 to 1, 0 to 255, -1 to 1, torchvision's classifiers, and YOLO's detectors."""


def _in_bytes(image: "Image.Image") -> "Image.Image":
    """The image; one of 16 bits a pixel loses the lower byte, which Pillow would take for all."""
    if not image.mode.startswith("I"):
        return image
    from PIL import Image

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _refused(field: str, given: object, expected: str) -> QuantizationError:
    return QuantizationError(f"preprocessing of images: {field}={given!r}: expected {expected}")

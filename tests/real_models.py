"""Trained models with inputs as they meet in use, for tests that have ../shared/models.

Photographs, digits and rendered text, cropped and normalised as each model was trained.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image, ImageDraw, ImageFont

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"

Sample = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class RealModel:
    """A float model file and how its input is made of pixels 0..255: (pixel - mean) / scale."""

    path: Path
    shape: tuple[int, int, int]
    """Channels, height, width."""
    mean: float = 0
    scale: float = 1
    source: str = "photographs"
    classifier: bool = False

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def samples(self, count: int, first: int = 0) -> Iterator[Sample]:
        """Samples `first` to `first + count`, each the same whenever it is asked for."""
        graph = onnx.load(self.path, load_external_data=False).graph
        constants = {tensor.name for tensor in graph.initializer}
        name = next(value.name for value in graph.input if value.name not in constants)
        for index in range(first, first + count):
            pixels = _SOURCES[self.source](self.shape, index)
            data = (pixels.astype(np.float32) - np.float32(self.mean)) / np.float32(self.scale)
            yield {name: data[None].astype(np.float32)}


@cache
def _photographs() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(SHARED.glob("data/*.jpg"))]


def _photograph(shape: tuple[int, int, int], index: int) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    random = np.random.default_rng(index)
    photos = _photographs()
    photo = photos[index % len(photos)]
    part = random.uniform(0.3, 1)
    w, h = max(1, int(photo.width * part)), max(1, int(photo.height * part))
    left = int(random.integers(0, photo.width - w + 1))
    top = int(random.integers(0, photo.height - h + 1))
    crop = photo.crop((left, top, left + w, top + h)).resize((width, height))
    pixels = np.asarray(crop if channels == 3 else crop.convert("L"))
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


@cache
def _all_digits() -> npt.NDArray[np.uint8]:
    with gzip.open(SHARED / "data" / "t10k-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)


def _digit(_: tuple[int, int, int], index: int) -> npt.NDArray[np.uint8]:
    digit: npt.NDArray[np.uint8] = _all_digits()[index]
    return digit


def _text(shape: tuple[int, int, int], index: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(index)
    channels, height, width = shape
    page = Image.new("RGB", (width, height), tuple(random.integers(180, 256, 3).tolist()))
    draw = ImageDraw.Draw(page)
    size = min(height * 2 // 3, int(random.integers(18, 48)))
    for y in range(height // 8, height - size // 2, size * 2):
        words = " ".join("".join(random.choice(list("abcdefgOCR0123"), 5)) for _ in range(4))
        draw.text((width // 20, y), words, fill=(20, 20, 40), font=ImageFont.load_default(size))
    return np.asarray(page).transpose(2, 0, 1)[:channels]


_SOURCES = {"photographs": _photograph, "digits": _digit, "text": _text}


def _ocr_folder() -> Path | None:
    spec = find_spec("rapidocr_onnxruntime")
    return Path(spec.origin).parent / "models" if spec and spec.origin else None


def real_models() -> list[RealModel]:
    """Every float model that is at hand; empty without ../shared and the OCR package."""
    trained = SHARED / "onnx"
    models = [
        RealModel(trained / "cifar10_resnet8_mlperf_tiny.onnx", (3, 32, 32), classifier=True),
        RealModel(trained / "cifar10_resnet20.onnx", (3, 32, 32), 118, 60, classifier=True),
        RealModel(trained / "vww_mobilenetv1_025_96.onnx", (3, 96, 96), 0, 255, classifier=True),
        RealModel(trained / "efficientnet_lite0.onnx", (3, 224, 224), 127, 128, classifier=True),
        RealModel(trained / "mnist_8.onnx", (1, 28, 28), source="digits", classifier=True),
        RealModel(trained / "furiosa_mnist_mlp.onnx", (1, 28, 28), 33, 78, "digits", True),
        RealModel(trained / "super_resolution_x3_224.onnx", (1, 224, 224), 0, 255),
        RealModel(trained / "FastestDet.onnx", (3, 352, 352), 0, 255),
        RealModel(trained / "yunet_n_320_320.onnx", (3, 320, 320)),
    ]
    ocr = _ocr_folder()
    if ocr is not None:
        models += [
            RealModel(ocr / "ch_PP-OCRv4_det_infer.onnx", (3, 192, 256), 118, 60, "text"),
            RealModel(ocr / "ch_PP-OCRv4_rec_infer.onnx", (3, 48, 320), 127.5, 127.5, "text"),
            RealModel(
                ocr / "ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 48, 192), 127.5, 127.5, "text"
            ),
        ]
    return [model for model in models if model.path.exists()]

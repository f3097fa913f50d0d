"""Folders of images as calibration data, and batches."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest
from PIL import Image

from furiosa_ep.quantization import ImageFolder, Preprocessing, QuantizationError, batched
from furiosa_ep.quantization import calibrate as find_ranges
from furiosa_ep.quantization.images import PREPROCESSING
from furiosa_ep.quantization.samples import Samples, known_length

Array = npt.NDArray[Any]


def model(shape: str = "n,3,h,w", kind: str = "float", more: str = "") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> '
        f"g ({kind}[{shape}] images{more}) => ({kind}[{shape}] y) {{ y = Identity(images) }}"
    )


def picture(path: Path, pixels: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def numbered(folder: Path, count: int = 5) -> Path:
    """Images whose pixels are their own number."""
    for number in range(count):
        picture(folder / f"{number:03}.png", np.full((4, 6, 3), number))
    return folder


def numbers(data: Any) -> list[list[float]]:
    return [(np.asarray(array)[:, 0, 0, 0]).tolist() for array in data]


def only(folder: Path, size: Any, *names: Any, **options: Any) -> Array:
    """The one image in a folder."""
    (found,) = ImageFolder(folder, size, *names, **options)
    assert isinstance(found, np.ndarray)
    return found


def test_images_of_all_folders_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for number, name in enumerate(["b/2.png", "b/1.PNG", "a.png", "b/c/1.bmp", "b/.3.png"]):
        picture(tmp_path / name, np.full((2, 2, 3), number), format=name[-3:].upper())
    (tmp_path / "b" / "labels.txt").write_text("1")
    (tmp_path / "folder.png").mkdir()
    images = ImageFolder(tmp_path, 2, "raw")
    assert len(images) == known_length(images) == 4
    for _ in range(2):
        assert numbers(images) == [[2], [1], [0], [3]]


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpeg", "jpg", "png", "ppm", "tiff", "webp"])
def test_common_files_are_read(suffix: str, tmp_path: Path) -> None:
    picture(tmp_path / f"image.{suffix}", np.full((8, 8, 3), 120))
    assert only(tmp_path, 8, "raw") == pytest.approx(np.full((1, 3, 8, 8), 120), abs=2)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7])
def test_the_last_batch_is_filled_up_with_the_first_images(batch: int, tmp_path: Path) -> None:
    images = ImageFolder(numbered(tmp_path), 4, "raw", batch=batch)
    found = numbers(images)
    assert len(found) == len(images) == -(-5 // batch)
    assert all(len(one) == batch for one in found)
    assert [number for one in found for number in one] == [
        number % 5 for number in range(batch * len(found))
    ]


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [0]), (2, [0, 2]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3, 4])]
)
def test_a_limit_takes_images_from_the_whole_folder(
    limit: int, expected: list[int], tmp_path: Path
) -> None:
    images = ImageFolder(numbered(tmp_path), 4, "raw", limit=limit)
    assert numbers(images) == [[number] for number in expected]


def test_layouts_names_and_dtypes(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    picture(tmp_path / "image.png", pixels)
    images = ImageFolder(tmp_path, (2, 3), "raw", layout="NHWC", dtype="uint8", input_name="x")
    (found,) = images
    assert isinstance(found, dict)
    assert found["x"].dtype == np.uint8
    assert np.array_equal(found["x"], pixels[None])
    found = only(tmp_path, (2, 3), "raw")
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.array_equal(found, pixels.transpose(2, 0, 1)[None])


def test_colors(tmp_path: Path) -> None:
    picture(tmp_path / "image.png", [[[255, 0, 0], [10, 20, 30]]])
    assert only(tmp_path, (1, 2), "raw", layout="NHWC", color="BGR").tolist() == [
        [[[0, 0, 255], [30, 20, 10]]]
    ]
    luma = only(tmp_path, (1, 2), "raw", color="L")
    assert luma.shape == (1, 1, 1, 2)
    assert luma.ravel() == pytest.approx([76, 18], abs=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I"])
def test_images_of_every_kind_become_rgb(mode: str, tmp_path: Path) -> None:
    level = 255 if mode == "1" else 100
    gray = np.full((2, 2), level, np.uint8)
    image = Image.fromarray(gray.astype(np.uint16) * 257 if mode.startswith("I") else gray)
    image.convert(mode).save(tmp_path / "image.tif")
    assert only(tmp_path, 2, "raw").tolist() == np.full((1, 3, 2, 2), level).tolist()


def test_images_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    picture(tmp_path / "image.png", [[[1] * 3, [2] * 3]], exif=exif)
    assert only(tmp_path, (2, 1), "raw")[0, 0].tolist() == [[1], [2]]


def ramp(folder: Path, height: int, width: int) -> Path:
    """An image whose red is the column and green the row."""
    rows, columns = np.mgrid[:height, :width]
    picture(folder / "image.png", np.stack([columns, rows, 0 * rows], axis=2))
    return folder


def test_resizing_stretches(tmp_path: Path) -> None:
    found = only(ramp(tmp_path, 40, 80), (20, 20), "raw", resize="stretch")[0]
    assert found[0, 10] == pytest.approx(np.arange(20) * 4 + 1.5, abs=1)
    assert found[1, :, 10] == pytest.approx(np.arange(20) * 2 + 0.5, abs=1)


@pytest.mark.parametrize(
    ("shape", "columns", "rows"),
    [((40, 80), (20, 60), (0, 40)), ((80, 40), (0, 40), (20, 60)), ((40, 40), (0, 40), (0, 40))],
)
def test_resizing_crops_what_is_too_long(
    shape: tuple[int, int], columns: tuple[int, int], rows: tuple[int, int], tmp_path: Path
) -> None:
    found = only(ramp(tmp_path, *shape), (20, 20), "raw", resize="crop")[0]
    assert found[0, 10] == pytest.approx(np.arange(*columns, 2) + 0.5, abs=1)
    assert found[1, :, 10] == pytest.approx(np.arange(*rows, 2) + 0.5, abs=1)


def test_the_center_is_what_resizing_and_cropping_leaves(tmp_path: Path) -> None:
    """As torchvision does it: the shorter side to 256, then the 224 x 224 of the center."""
    rows, columns = np.mgrid[:300, :512]
    pixels = np.stack([columns // 2, rows // 2, (rows + columns) // 4], axis=2)
    path = picture(tmp_path / "image.png", pixels)
    image = Image.open(path).resize((437, 256), Image.Resampling.BILINEAR)
    expected = np.asarray(image.crop((106, 16, 330, 240)))
    found = only(tmp_path, 224, "raw", resize="crop", central=0.875, layout="NHWC")[0]
    assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_letterboxes_have_bars_at_both_ends(shape: tuple[int, int], tmp_path: Path) -> None:
    picture(tmp_path / "image.png", np.full((*shape, 3), 200))
    found = only(tmp_path, 8, "raw", resize="letterbox")[0, 0]
    expected = np.full((8, 8), 114)
    expected[slice(2, 6) if shape[0] == 20 else slice(None)] = 200
    if shape[1] == 20:
        expected[:, [0, 1, 6, 7]] = 114
    assert np.array_equal(found, expected)
    filled = only(tmp_path, 8, "raw", resize="letterbox", fill=7)
    assert set(np.unique(filled)) == {7, 200}


def test_a_letterbox_of_a_thin_image_keeps_a_pixel(tmp_path: Path) -> None:
    picture(tmp_path / "image.png", np.full((1, 300, 3), 200))
    assert (only(tmp_path, 8, "raw", resize="letterbox")[0, 0] == 200).any(axis=1).sum() == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unit", [10 / 255, 20 / 255, 30 / 255]),
        ("raw", [10, 20, 30]),
        ("signed", [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1]),
        (
            "imagenet",
            [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225],
        ),
        ("yolo", [10 / 255, 20 / 255, 30 / 255]),
    ],
)
def test_named_preprocessing(name: str, expected: list[float], tmp_path: Path) -> None:
    picture(tmp_path / "image.png", np.full((4, 4, 3), [10, 20, 30]))
    found = only(tmp_path, 4, name)
    assert found[0, :, 1, 2] == pytest.approx(expected, rel=1e-6)
    assert np.array_equal(found, only(tmp_path, 4, PREPROCESSING[name]))


def test_mean_and_std_are_in_the_order_of_colors(tmp_path: Path) -> None:
    picture(tmp_path / "image.png", [[[10, 20, 30]]])
    found = only(tmp_path, 1, "raw", color="BGR", mean=[1, 2, 3], std=(2, 3, 4))
    assert found.ravel() == pytest.approx([29 / 2, 18 / 3, 7 / 4])


def test_integers_are_rounded_and_saturated(tmp_path: Path) -> None:
    picture(tmp_path / "image.png", [[[0, 127, 255]]])
    assert only(tmp_path, 1, dtype="uint8").ravel().tolist() == [0, 127, 255]
    assert only(tmp_path, 1, dtype="int8", mean=128).ravel().tolist() == [-128, -1, 127]
    assert only(tmp_path, 1, dtype="int8").ravel().tolist() == [0, 127, 127]
    assert only(tmp_path, 1, dtype="uint8", std=2).ravel().tolist() == [0, 64, 128]


@pytest.mark.parametrize(
    ("shape", "kind", "given", "expected"),
    [
        ("1,3,4,6", "float", {}, ((1, 3, 4, 6), "float32", 5)),
        ("1,4,6,3", "float16", {}, ((1, 4, 6, 3), "float16", 5)),
        ("2,1,4,6", "uint8", {}, ((2, 1, 4, 6), "uint8", 3)),
        ("n,3,h,w", "float", {"size": 5}, ((1, 3, 5, 5), "float32", 5)),
        ("n,3,h,w", "float", {"size": (5, 7), "batch": 3}, ((3, 3, 5, 7), "float32", 2)),
        ("n,3,4,w", "float", {"size": (4, 9), "limit": 2}, ((1, 3, 4, 9), "float32", 2)),
        ("1,1,4,6", "float", {"preprocessing": "imagenet"}, ((1, 1, 4, 6), "float32", 5)),
        ("1,3,4,6", "float", {"color": "BGR", "size": (4, 6)}, ((1, 3, 4, 6), "float32", 5)),
    ],
)
def test_the_input_of_a_model_says_what_it_takes(
    shape: str, kind: str, given: Any, expected: Any, tmp_path: Path
) -> None:
    folder = numbered(tmp_path / "images")
    proto = model(shape, kind)
    onnx.save(proto, tmp_path / "model.onnx")
    for form in (proto, proto.SerializeToString(), tmp_path / "model.onnx"):
        images = ImageFolder.for_model(form, folder, **given)
        found = [sample["images"] for sample in images if isinstance(sample, dict)]
        assert {(array.shape, str(array.dtype), len(found)) for array in found} == {expected}
        assert len(list(Samples(images, proto.graph.input))) == len(images)


def test_channels_of_one_number_are_normalized_by_the_averages(tmp_path: Path) -> None:
    picture(tmp_path / "image.png", np.full((1, 1), 51))
    (found,) = ImageFolder.for_model(
        model("1,1,1,1"), tmp_path, mean=(0.1, 0.2, 0.3), std=(1, 2, 3)
    )
    assert isinstance(found, dict)
    assert found["images"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ("n,3,h,w", {}, "'images' is nx3xhxw and takes images of any size: give the size"),
        ("n,3,4,w", {}, "takes images of any size"),
        ("1,3,4,6", {"size": 4}, r"width=4: input 'images' takes 6 \(1x3x4x6\)"),
        ("2,3,4,6", {"batch": 1}, r"batch=1: input 'images' takes 2 \(2x3x4x6\)"),
        ("1,784", {}, "'images' is 1x784: expected images of 1 or 3 channels"),
        ("1,5,4,6", {}, "'images' is 1x5x4x6: expected images"),
        ("1,3,4,6", {"color": "L"}, r"color='L': input 'images' takes 3 channels \(1x3x4x6\)"),
        ("1,1,4,6", {"color": "RGB"}, "color='RGB': input 'images' takes 1 channels"),
    ],
)
def test_what_a_model_does_not_take_is_refused(
    shape: str, given: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(QuantizationError, match=message):
        ImageFolder.for_model(model(shape), numbered(tmp_path), **given)


def test_a_model_of_two_inputs_takes_no_images(tmp_path: Path) -> None:
    proto = model(more=", float[2] b")
    with pytest.raises(QuantizationError, match="inputs images, b, and images are for one alone"):
        ImageFolder.for_model(proto, numbered(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "fit"}, "resize='fit': expected one of stretch, crop, letterbox"),
        ({"color": "HSV"}, "color='HSV': expected one of RGB, BGR, L"),
        ({"central": 0}, "central=0: expected a share above 0 and at most 1"),
        ({"central": 87.5}, "central=87.5: expected a share"),
        ({"fill": 256}, "fill=256: expected a pixel from 0 to 255"),
        ({"mean": (1, 2)}, r"mean=\(1, 2\): expected one number, or 3 for RGB"),
        ({"std": (1, 2, 3), "color": "L"}, r"std=\(1, 2, 3\): expected one number, or 1 for L"),
        ({"std": (1, 0, 1)}, "expected no zero"),
        ({"colour": "RGB"}, "'colour': expected one of resize, central, fill, color, scale, mean"),
        ({"preprocessing": "best"}, "'best': expected one of unit, raw, signed, imagenet, yolo"),
        ({"layout": "CHW"}, "layout='CHW': expected one of NCHW, NHWC"),
        ({"size": 0}, "height=0: expected 1 or more"),
        ({"size": (3, -1)}, "width=-1: expected 1 or more"),
        ({"batch": 0}, "batch=0: expected 1 or more"),
        ({"limit": 0}, "limit=0: expected 1 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match=message):
        ImageFolder(numbered(tmp_path), **{"size": 4, **options})


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(QuantizationError, match=r"no images in .*: expected files .* \.jpg"):
        ImageFolder(tmp_path, 4)
    with pytest.raises(QuantizationError, match=r"no folder of images at .*absent$"):
        ImageFolder(tmp_path / "absent", 4)
    with pytest.raises(QuantizationError, match=r"no folder of images at .*notes\.txt: it is a"):
        ImageFolder(tmp_path / "notes.txt", 4)


@pytest.mark.parametrize("size", [0, 20, 200])
def test_an_image_that_cannot_be_read_is_named(size: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 255, (32, 32, 3))
    path = picture(numbered(tmp_path) / "0.jpg", random)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(QuantizationError, match=r"cannot read the image .*/0\.jpg: "):
        list(ImageFolder(tmp_path, 4))


def test_pillow_is_asked_for_where_it_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageFolder(numbered(tmp_path), 4)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(QuantizationError, match=r"pip install furiosa-ep\[quantization\]"):
        list(images)


def test_a_folder_calibrates(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2,3,4,6] images) => (float[2,3,4,6] y) '
        "{ y = Sigmoid(images) }"
    )
    images = ImageFolder.for_model(proto, numbered(tmp_path), "raw")
    assert find_ranges(proto, images)["images"] == (0, 4)


def rows(*numbers: float) -> list[Array]:
    return [np.full((1, 2), number, np.float32) for number in numbers]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [[1], [2], [3]]), (2, [[1, 2], [3, 1]]), (3, [[1, 2, 3]]), (5, [[1, 2, 3, 1, 2]])],
)
def test_samples_are_joined_to_batches(size: int, expected: list[list[int]]) -> None:
    batches = batched(rows(1, 2, 3), size)
    assert known_length(batches) == len(expected)
    assert not isinstance(batches, Iterator)
    for data in (batches, batches, batched(iter(rows(1, 2, 3)), size)):
        assert [np.asarray(array)[:, 1].tolist() for array in data] == expected
    assert isinstance(batched(iter(rows(1)), 1), Iterator)


def test_dicts_and_lists_are_joined_too() -> None:
    first, second = {"x": [[1, 2]], "n": np.array([3])}, {"n": [4], "x": [[5, 6]]}
    (batch,) = batched([first, second], 2)  # type: ignore[list-item]  # NumPy's type forgets lists
    assert isinstance(batch, dict)
    assert {name: array.tolist() for name, array in batch.items()} == {
        "x": [[1, 2], [5, 6]],
        "n": [3, 4],
    }


def test_samples_of_batches_may_share_their_memory() -> None:
    def generate() -> Iterator[Array]:
        shared = np.zeros((1, 2), np.float32)
        for number in range(3):
            shared[...] = number
            yield shared

    found = list(batched(generate(), 2))
    assert [np.asarray(array)[:, 0].tolist() for array in found] == [[0, 1], [2, 0]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([*rows(1, 2), np.zeros((1, 3))], "samples 2 to 3 do not make a batch: .*match"),
        (
            [{"x": [1]}, {"y": [1]}],
            "samples 0 to 1 do not make a batch: they have different inputs",
        ),
        ([{"x": [1]}, np.zeros(1)], "different inputs"),
        ([1.5, 2.5], "zero-dimensional"),
        ([[[1], [1, 2]], [[1], [2]]], "inhomogeneous"),
        (None, "data of type NoneType"),
    ],
)
def test_samples_that_do_not_join_are_told(data: Any, message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        list(batched(data, 2))


def test_batches_have_a_size() -> None:
    with pytest.raises(QuantizationError, match="batches of 0 samples: expected 1 or more"):
        batched([], 0)


def test_preprocessing_describes_itself() -> None:
    assert Preprocessing() == PREPROCESSING["unit"]
    assert Preprocessing(color="L").channels == 1

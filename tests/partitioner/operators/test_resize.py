from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.operators.resize import drops_quantization
from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import check_movement, i64, operator
from tests.partitioner.operators.qdq import check, declined

SHAPE = (2, 3, 5, 6)
TRANSFORMS = (
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "half_pixel_symmetric",
)


def scales(*values: float) -> list[Any]:
    return [None, np.array(values, np.float32)]


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("transform", [*TRANSFORMS, "tf_half_pixel_for_nn"])
def test_nearest(transform: str, nearest: str) -> None:
    details: dict[str, Any] = {
        "mode": "nearest",
        "opset": 19,
        "coordinate_transformation_mode": transform,
        "nearest_mode": nearest,
    }
    for factors in ((1, 1, 2, 2), (1, 1, 0.5, 1.7), (1, 1, 0.3, 3), (2, 1, 1, 2)):
        check(operator("Resize", SHAPE, constants=scales(*factors), form="same", **details))
    sizes = [None, None, i64(2, 3, 11, 4)]
    check(operator("Resize", SHAPE, constants=sizes, **details))


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_sizes_of_some_axes(policy: str) -> None:
    sizes = [None, None, i64(11, 15)]
    details: dict[str, Any] = {"opset": 19, "axes": [2, 3], "keep_aspect_ratio_policy": policy}
    check(operator("Resize", SHAPE, constants=sizes, mode="nearest", **details))


def test_forms_and_ranks() -> None:
    check_movement("Resize", SHAPE, constants=scales(1, 1, 2, 2), mode="nearest")
    check_movement("Resize", SHAPE, constants=scales(1, 1, 1, 1), mode="nearest")
    check(operator("Resize", (2, 3, 5), constants=scales(1, 2, 1.5), mode="nearest"))
    check(operator("Resize", (3, 5), constants=scales(2, 1.5), mode="nearest"))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("factors", [(1, 1, 2, 1.5), (1, 1, 1, 2), (1, 1, 2, 2)])
def test_old_opsets(factors: tuple[float, ...], mode: str) -> None:
    constants = [np.array(factors, np.float32)]
    check(operator("Resize", SHAPE, opset=10, constants=constants, mode=mode))
    check(operator("Upsample", SHAPE, opset=9, constants=constants, mode=mode, form="raw"))
    upsample = operator("Upsample", SHAPE, opset=9, constants=constants, mode=mode)
    for node in upsample.nodes[::2]:
        node.domain = "com.microsoft"  # The default domain has them since opset 10.
    check(upsample)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_linear(transform: str) -> None:
    details: dict[str, Any] = {
        "mode": "linear",
        "opset": 19,
        "coordinate_transformation_mode": transform,
    }
    for factors in ((1, 1, 2, 2), (1, 1, 0.5, 1.7), (1, 1, 0.3, 3)):
        for form in ("requantized", "same", "raw"):
            check(operator("Resize", SHAPE, constants=scales(*factors), form=form, **details))
        q = operator("Resize", SHAPE, constants=scales(*factors), dtype=np.int8, **details)
        check(q)
    check(operator("Resize", SHAPE, constants=[None, None, i64(2, 3, 11, 4)], **details))


def test_linear_of_a_matrix() -> None:
    check(operator("Resize", (5, 6), constants=scales(2, 1.5), mode="linear"))


def test_bytes_are_interpolated_up_to_onnx_runtime_1_26() -> None:
    import onnxruntime

    assert drops_quantization() == onnxruntime.__version__.startswith("1.26.")


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"mode": "cubic"}, DeclineCode.ATTRIBUTE),
        ({"mode": "linear", "antialias": 1}, DeclineCode.ATTRIBUTE),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, DeclineCode.ATTRIBUTE),
        ({"nearest_mode": "simple"}, DeclineCode.ATTRIBUTE),
        ({"mode": "linear", "form": "float"}, DeclineCode.DTYPE),
        ({"mode": "linear", "form": "raw", "dtype": np.int8}, DeclineCode.DTYPE),
        ({"mode": "linear", "constants": scales(1, 2, 2, 2)}, DeclineCode.SHAPE),
        ({"mode": "linear", "shape": (2, 5, 6), "constants": scales(1, 2, 2)}, DeclineCode.SHAPE),
        ({"constants": []}, DeclineCode.MISSING_INPUT),
    ],
)
def test_declines(attributes: dict[str, Any], code: DeclineCode) -> None:
    details = {"shape": SHAPE, "constants": scales(1, 1, 2, 2), "opset": 18, **attributes}
    assert declined(operator("Resize", **details)).code == code

from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import TYPES
from tests.partitioner.operators.qdq import Qdq, check, declined


def conv_transpose(
    w: tuple[int, ...],
    x: tuple[int, ...] = (2, 8, 5, 6),
    *,
    axis: int | None = None,
    bias: str = "quantized",
    quantized: bool = True,
    dtype: type[np.integer[Any]] = np.uint8,
    **attributes: Any,
) -> Qdq:
    q = Qdq(dtype=dtype)
    inputs = [q.x(*x), q.weights(w, axis)]
    outputs = w[1] * attributes.get("group", 1)
    if bias == "quantized":
        inputs.append(q.bias((outputs,), inputs))
    elif bias == "float":
        inputs.append(q.constant(q.rng.uniform(-1, 1, outputs).astype(np.float32)))
    y = q.node("ConvTranspose", inputs, **attributes)
    if quantized:
        q.y(y, 0.05)
    else:
        q.output(y, quantized=False)
    return q


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("w", "attributes"),
    [
        ((8, 4, 2, 2), {"strides": [2, 2]}),
        ((8, 4, 3, 3), {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
        ((8, 4, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((8, 4, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ((8, 4, 1, 2), {"strides": [3, 3], "auto_pad": "SAME_LOWER"}),
        ((8, 4, 3, 3), {"strides": [2, 2], "auto_pad": "VALID"}),
        ((8, 4, 3, 3), {"strides": [2, 1], "dilations": [1, 2], "group": 2}),
        ((8, 1, 4, 4), {"strides": [2, 2], "pads": [1] * 4, "group": 8}),
        ((8, 4, 3, 3), {"strides": [2, 2], "output_shape": [10, 12]}),
        ((8, 4, 2, 2), {"strides": [2, 2], "output_shape": [11, 13]}),
        ((8, 4, 3, 3), {"axis": 1, "bias": ""}),
        ((8, 4, 3, 3), {"bias": "float"}),
        ((8, 4, 3, 3), {"quantized": False}),
        ((8, 4, 3), {"x": (2, 8, 6), "strides": [2], "pads": [1, 0]}),
    ],
)
def test_equals_the_cpu_provider(
    w: tuple[int, ...], attributes: dict[str, Any], dtype: type[np.integer[Any]]
) -> None:
    check(conv_transpose(w, dtype=dtype, **attributes))


def test_one_pixel_is_declined() -> None:
    assert declined(conv_transpose((8, 4, 2, 2), (1, 8, 1, 1))).code == DeclineCode.SHAPE


def test_groups_fit_the_channels() -> None:
    assert declined(conv_transpose((8, 4, 2, 2), (1, 4, 3, 3))).code == DeclineCode.SHAPE

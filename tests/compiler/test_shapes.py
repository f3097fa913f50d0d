from typing import Any

import numpy as np
import pytest

from furiosa_ep.compiler.shapes import check_shape

WINDOW = {"strides": (2, 1), "dilations": (1, 2), "pads": (1, 0, 0, 2), "group": 1}
TRANSPOSED = {**WINDOW, "output_padding": (1, 0)}
POOL = {**WINDOW, "kernel": (2, 2)}

RIGHT: list[tuple[str, list[tuple[int, ...]], dict[str, Any], tuple[int, ...]]] = [
    ("Conv", [(1, 3, 6, 6), (4, 3, 2, 2)], WINDOW, (1, 4, 3, 6)),
    ("ConvTranspose", [(1, 3, 6, 6), (3, 4, 2, 2)], TRANSPOSED, (1, 4, 12, 6)),
    ("MaxPool", [(1, 3, 6, 6)], POOL, (1, 3, 3, 6)),
    ("MaxPool", [(1, 3, 6, 6)], POOL, (1, 3, 4, 6)),
    ("MatMul", [(5, 1, 2, 3), (4, 3, 6)], {}, (5, 4, 2, 6)),
    ("GlobalAveragePool", [(2, 3, 4, 5)], {}, (2, 3, 1, 1)),
    ("Reduce", [(2, 3, 4)], {"axes": (-1, 0), "keepdims": 0}, (3,)),
    ("Reduce", [(2, 3, 4)], {"axes": (-1, 0), "keepdims": 1}, (1, 3, 1)),
    ("Add", [(3, 1), (2, 1, 4)], {}, (2, 3, 4)),
    ("Transpose", [(2, 3, 4)], {"perm": (2, 0, 1)}, (4, 2, 3)),
    ("Concat", [(2, 3), (2, 4)], {"axis": -1}, (2, 7)),
    ("Pad", [(2, 3)], {"pads": (0, 1, 2, 0)}, (4, 4)),
    ("Gather", [(2, 3)], {"axis": 1, "indices": np.zeros((4, 5), int)}, (2, 4, 5)),
    ("Reshape", [(2, 3)], {}, (6, 1)),
    ("Expand", [(2, 1, 3)], {}, (2, 5, 3)),
    ("Slice", [(5, 4)], {"starts": (4, 0), "steps": (-2, 1)}, (3, 0)),
    ("ResizeNearest", [(1, 2, 3, 3)], {"rows": [0, 0, 1, 1, 2], "columns": [2] * 6}, (1, 2, 5, 6)),
]


@pytest.mark.parametrize(("kind", "inputs", "attributes", "shape"), RIGHT)
def test_a_shape_that_follows_is_accepted_and_no_other(
    kind: str, inputs: list[tuple[int, ...]], attributes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    check_shape(kind, inputs, attributes, shape)
    with pytest.raises(ValueError):  # noqa: PT011 - every rule has words of its own
        check_shape(kind, inputs, attributes, (*shape[:-1], shape[-1] + 7))


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "reason"),
    [
        ("Conv", [(1, 3, 6, 6), (4, 2, 2, 2)], WINDOW, "in 1 groups"),
        ("Conv", [(1, 3, 6), (4, 3, 2, 2)], WINDOW, "rank 3 or 4"),
        ("Conv", [(1, 3, 6, 6), (4, 3, 2, 2)], {**WINDOW, "pads": (1, 1)}, "2 spatial axes"),
        ("MatMul", [(2, 3), (2, 3)], {}, "one inner size"),
        ("Transpose", [(2, 3)], {"perm": (0, 0)}, "perm"),
        ("Concat", [(2, 3), (3, 3)], {"axis": 1}, "differ beside axis 1"),
        ("Pad", [(2,)], {"pads": (-1, 0)}, "none negative"),
    ],
)
def test_operands_that_do_not_fit_together(
    kind: str, inputs: list[tuple[int, ...]], attributes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        check_shape(kind, inputs, attributes, (1,))

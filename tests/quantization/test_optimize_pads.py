"""Pads that become a Slice, or those of what reads them."""

import numpy as np
import pytest

from furiosa_ep.quantization.optimize.pads import fold_pads, split_negative_pads
from tests.quantization.optimizing import (
    X,
    apply,
    assert_same_function,
    attributes_of,
    normal,
    op_types,
    parse,
    standard,
)


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize(
    ("pads", "mode", "expected"),
    [
        ([0, 0, -1, -1, 0, 0, -1, 0], "constant", ["Slice"]),
        ([0, 0, -1, 0, 0, 0, 0, -2], "edge", ["Slice"]),
        ([0, 0, -1, 0, 0, 0, 0, -2], "reflect", ["Slice"]),
        ([0, 0, -1, 2, 0, 1, 3, -2], "constant", ["Slice", "Pad"]),
        ([0, 0, -1, 2, 0, 1, 3, -2], "edge", ["Pad"]),
        ([0, 0, 1, 2, 0, 1, 3, 2], "constant", ["Pad"]),
    ],
)
def test_negative_pads_become_a_slice(
    pads: list[int], mode: str, expected: list[str], opset: int
) -> None:
    model = parse(
        f'({X} x) => (float[a,b,c,d] y) {{ y = Pad<mode="{mode}">(x, pads, value) }}',
        opset,
        pads=np.array(pads),
        value=np.float32(1.5),
    )
    assert op_types(apply(split_negative_pads, model)) == expected


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, -2]])
def test_negative_pads_of_some_axes_become_a_slice(axes: list[int]) -> None:
    model = parse(
        f"({X} x) => (float[a,b,c,d] y) {{ y = Pad(x, pads, , axes) }}",
        18,
        pads=np.array([-1, 1, 0, -2]),
        axes=np.array(axes),
    )
    assert op_types(apply(split_negative_pads, model)) == ["Slice", "Pad"]


def test_negative_pads_of_open_dims_become_a_slice() -> None:
    model = parse(
        "(float[N,M] x) => (float[N,K] y) { r = Exp(x) y = Pad(r, pads) }",
        pads=np.array([0, -1, 0, -1]),
    )
    after = apply(split_negative_pads, model)
    assert op_types(after) == ["Exp", "Slice"]
    assert_same_function(model, after, {"x": normal(3, 7)})


@pytest.mark.parametrize(
    ("pads", "value", "node", "expected"),
    [
        ([0, 0, 1, 2, 0, 0, 0, 1], 0, "Conv(p, w)", [1, 2, 0, 1]),
        ([0, 0, 1, 2, 0, 0, 0, 1], 0, "Conv<pads=[1,0,0,2], strides=[2,1]>(p, w, b)", [2, 2, 0, 3]),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, 'Conv<auto_pad="VALID">(p, w)', [1, 1, 1, 1]),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "AveragePool<kernel_shape=[2,3]>(p)", [1, 1, 1, 1]),
        (
            [0, 0, 1, 0, 0, 0, 1, 1],
            0,
            "AveragePool<kernel_shape=[2,2], pads=[0,1,0,0], count_include_pad=1>(p)",
            [1, 1, 1, 1],
        ),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "AveragePool<kernel_shape=[3,3], ceil_mode=1>(p)", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(p)", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, "MaxPool<kernel_shape=[2,2]>(p)", None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0, 'Conv<auto_pad="SAME_UPPER">(p, w)', None),
        ([0, 0, 1, 1, 0, 0, 1, 1], 1, "Conv(p, w)", None),
        ([1, 0, 1, 1, 0, 0, 1, 1], 0, "Conv(p, w)", None),
        ([0, 0, -1, 1, 0, 0, 1, 1], 0, "Conv(p, w)", None),
    ],
)
def test_zeros_around_an_image_join_what_reads_it(
    pads: list[int], value: float, node: str, expected: list[int] | None
) -> None:
    model = parse(
        f"({X} x) => (float[a,b,c,d] y) {{ p = Pad(x, pads, value) y = {node} }}",
        pads=np.array(pads),
        value=np.float32(value),
        w=normal(2, 3, 2, 3),
        b=normal(2),
    )
    after = apply(fold_pads, model)
    if expected is None:
        assert op_types(after) == op_types(model)
    else:
        (node_after,) = after.graph.node
        assert attributes_of(after, node_after.op_type)["pads"] == expected


def test_zeros_that_reflect_or_that_others_read_stay() -> None:
    for text in (
        f'({X} x) => (float[a,b,c,d] y) {{ p = Pad<mode="reflect">(x, pads) y = Conv(p, w) }}',
        f"({X} x) => (float[a,b,c,d] y, float[e,f,g,h] z) {{ p = Pad(x, pads) y = Conv(p, w) "
        "z = Relu(p) }",
    ):
        constants = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": normal(2, 3, 2, 3)}
        before = standard(parse(text, **constants))
        assert fold_pads(before) is before

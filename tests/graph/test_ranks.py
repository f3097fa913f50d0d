"""Ranks that follow from operators where ONNX's shape inference gives up."""

import onnx.parser
import pytest

from furiosa_ep.graph import Graph


def graph(body: str, values: str = "float y") -> Graph:
    """A graph whose values in `values` have element types and no shapes."""
    text = (
        '<ir_version: 9, opset_import: ["" : 21]> g (float[N,2,4,4] x, int64[k] t, float u, '
        f"float[4] v) => (float y) <{values}, int64[2] axes = {{1, 2}}, int64[1] one = {{1}}, "
        "int64[1] two = {2}, int64[1] far = {9223372036854775807}> "
        f"{{ {body} }}"
    )
    model = onnx.parser.parse_model(text)
    for info in (*model.graph.value_info, *model.graph.output, *model.graph.input):
        if info.name not in "xtv":
            info.type.tensor_type.ClearField("shape")
    return Graph.from_model(model)


@pytest.mark.parametrize(
    ("body", "rank"),
    [
        ("y = Relu(x)", 4),
        ("y = Relu(u)", None),
        ("y = Transpose(x)", 4),
        ("y = Add(x, v)", 4),
        ("y = Add(x, u)", None),
        ("y = MatMul(x, x)", 4),
        ("y = MatMul(x, v)", None),
        ("y = Flatten(u)", 2),
        ("y = Concat<axis=0>(x, u)", 4),
        ("y = Gather(x, axes)", 4),
        ("y = Squeeze(x, axes)", 2),
        ("y = Squeeze(x)", None),
        ("y = Unsqueeze(x, axes)", 6),
        ("y = ReduceMean(x, axes)", 4),
        ("y = ReduceMean<keepdims=0>(x, axes)", 2),
        ("y = ReduceMean<keepdims=0>(x, t)", None),
        ("y = Expand(v, axes)", 2),
        ("y = Reshape(u, axes)", 2),
        ("y = Reshape(u, t)", None),
        ("y = Custom(x)", None),
    ],
)
def test_the_rank_follows_from_the_operator(body: str, rank: int | None) -> None:
    shape = graph(body).shape("y")
    assert (None if shape is None else len(shape)) == rank


@pytest.mark.parametrize(
    ("body", "rank"),
    [
        ("s = Shape(x) y = Reshape(u, s)", 4),
        ("s = Shape<start=1>(x) y = Reshape(u, s)", 3),
        ("s = Shape(u) y = Reshape(u, s)", None),
        ("s = Shape(x) c = Slice(s, one, far) y = Reshape(u, c)", 3),
        ("s = Shape(x) c = Slice(s, one, far, one, two) y = Reshape(u, c)", 2),
        ("s = Shape(x) c = Slice(s, t, far) y = Reshape(u, c)", None),
        ("s = Shape(x) c = Slice(s, one, far, one, t) y = Reshape(u, c)", None),
        ("s = Shape(x) a = Cast<to=7>(s) c = Concat<axis=0>(a, one, axes) y = Reshape(u, c)", 7),
        ("s = Shape(x) c = Concat<axis=0>(s, t) y = Reshape(u, c)", None),
    ],
)
def test_the_length_of_a_computed_shape_is_a_rank(body: str, rank: int | None) -> None:
    shape = graph(body, "float y, int64[p] s, int64[q] c, int64[r] a").shape("y")
    assert (None if shape is None else len(shape)) == rank


def test_known_shapes_stay_as_they_are() -> None:
    assert graph("y = Identity(x) z = Relu(x)", "float[N,2,4,4] z").shape("x") == ("N", 2, 4, 4)

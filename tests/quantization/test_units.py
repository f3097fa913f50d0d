"""What becomes a unit: layers with their clips, chains, and what the NPU leaves."""

import onnx
import pytest

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.units import find_scheme
from tests.quantization.optimizing import normal, parse, standard

IMAGE = "float[1,4,8,8]"


def scheme_of(body: str, **constants: object) -> Scheme:
    return find_scheme(standard(parse(body, **constants)))  # type: ignore[arg-type]


def units(scheme: Scheme) -> list[list[str]]:
    """The operators of each unit; that of a clip in brackets."""
    nodes = scheme.model.graph.node
    return [
        [nodes[p].op_type for p in unit.nodes]
        + ([f"({nodes[unit.clip].op_type})"] if unit.clip is not None else [])
        for unit in scheme.units
    ]


@pytest.mark.parametrize(
    ("before", "clip", "expected"),
    [
        ("v = Conv(x, w)", "Relu(v)", [["Conv", "(Relu)"]]),
        ("v = Conv(x, w)", "Clip(v, low, high)", [["Conv", "(Clip)"]]),
        ("v = Conv(x, w)", "Clip(v, high)", [["Conv"], ["Clip"]]),
        ("v = Add(x, z)", "Relu(v)", [["Add", "(Relu)"]]),
        ("v = AveragePool<kernel_shape=[2,2]>(x)", "Relu(v)", [["AveragePool", "(Relu)"]]),
        ("v = MaxPool<kernel_shape=[2,2]>(x)", "Relu(v)", [["MaxPool"], ["Relu"]]),
        ("v = Sigmoid(x)", "Relu(v)", [["Sigmoid", "Relu"]]),
    ],
)
def test_a_clip_goes_with_what_computes_its_input(
    before: str, clip: str, expected: list[list[str]]
) -> None:
    found = scheme_of(
        f"({IMAGE} q, {IMAGE} z) => (float[n,c,h,k] y) {{ x = Conv(q, p) {before} y = {clip} }}",
        p=normal(4, 4, 1, 1),
        w=normal(4, 4, 3, 3),
        low=-1.0,
        high=6.0,
    )
    assert units(found) == [["Conv"], *expected]
    assert found.units[-1].writes == ("y",)


def test_a_clip_of_what_others_read_stays() -> None:
    found = scheme_of(
        f"({IMAGE} x) => (float[1,4,6,6] y, float[1,4,6,6] z) "
        "{ v = Conv(x, w) y = Relu(v) z = Sigmoid(v) }",
        w=normal(4, 4, 3, 3),
    )
    assert units(found) == [["Conv"], ["Relu"], ["Sigmoid"]]


def test_functions_of_one_value_are_a_chain() -> None:
    silu = "v = Conv(x, w) s = Sigmoid(v) u = Mul(v, s)"
    found = scheme_of(
        f"({IMAGE} x) => (float[1,4,4,4] y) {{ {silu} y = Conv(u, w) }}", w=normal(4, 4, 3, 3)
    )
    assert units(found) == [["Conv"], ["Sigmoid", "Mul"], ["Conv"]]
    assert found.units[1].reads == ("v",)
    assert found.units[1].writes == ("u",)
    assert "s" not in found.values


def test_a_chain_ends_where_something_else_reads_it() -> None:
    found = scheme_of(
        f"({IMAGE} q, {IMAGE} z) => ({IMAGE} y, {IMAGE} t) "
        "{ x = Conv(q, w) a = Sigmoid(x) b = Mul(x, a) c = Add(b, z) y = Softmax(a) t = Abs(c) }",
        w=normal(4, 4, 1, 1),
    )
    assert sorted(units(found)) == [["Abs"], ["Add"], ["Conv"], ["Mul"], ["Sigmoid"], ["Softmax"]]
    mul = next(unit for unit in found.units if found.node(unit).op_type == "Mul")
    assert set(mul.reads) == {"x", "a"}


def test_what_the_npu_declines_stays_in_float_with_its_reason() -> None:
    found = scheme_of(
        f"({IMAGE} x) => (float[1,4,6,6] y) {{ v = Conv(x, w) u = IsNaN(v) c = Cast<to=1>(u) "
        "t = LayerNormalization(v, g) r = Conv(t, p) y = Add(r, c) }",
        w=normal(4, 4, 3, 3),
        g=normal(6),
        p=normal(4, 4, 1, 1),
    )
    assert units(found) == [["Conv"], ["Conv"], ["Add"]]


def test_a_declined_operator_is_named() -> None:
    model = parse(
        f"({IMAGE} x) => (float[1,4,4,4] y) {{ v = Conv(x, w) "
        "y = AveragePool<kernel_shape=[2,2], dilations=[2,2]>(v) }",
        19,
        w=normal(4, 4, 3, 3),
    )
    found = find_scheme(standard(model))
    assert units(found) == [["Conv"]]
    (reason,) = found.in_float.values()
    assert reason.startswith("attribute: AveragePool must not be dilated.")


def test_lone_operators_between_floats_are_not_worth_it() -> None:
    found = scheme_of(
        "(float[1,4,6] x) => (float[1,4,3] y) "
        "{ a = LayerNormalization(x, g) b = Relu(a) "
        "c = LayerNormalization(b, g) y = MatMul(c, w) }",
        g=normal(6),
        w=normal(6, 3),
    )
    assert units(found) == [["MatMul"]]
    (reason,) = found.in_float.values()
    assert reason.startswith("cost: ")


def test_all_of_a_model_that_is_too_small_for_the_npu_is_quantized() -> None:
    assert units(scheme_of("(float[1,4] x) => (float[1,4] y) { y = Sigmoid(x) }")) == [["Sigmoid"]]


def test_integers_and_constants_are_left_alone() -> None:
    found = scheme_of(
        "(float[4,8] x, int64[2] i) => (float[2,3] y, int64[2] j) "
        "{ g = Gather(x, i) y = MatMul(g, w) j = Add(i, i) }",
        w=normal(8, 3),
    )
    assert [found.node(unit).op_type for unit in found.units] == ["MatMul"]
    assert set(found.values) == {"g", "y"}


def test_nodes_are_kept_in_float_by_name_output_and_pattern() -> None:
    model = parse(
        f"({IMAGE} x) => (float[1,4,2,2] y) {{ a = Conv(x, w) b = Relu(a) c = Conv(b, w) "
        "y = Conv(c, w) }",
        w=normal(4, 4, 3, 3),
    )
    for position, name in enumerate(("stem/conv", "stem/relu", "body/conv", "head/conv")):
        model.graph.node[position].name = name
    found = find_scheme(standard(model))
    for patterns, left in [
        (["body/conv"], 2),
        (["c"], 2),
        (["stem/*"], 2),
        (["stem/relu"], 2),
        (["*/conv"], 0),
        (["body/*", "y"], 1),
        ([], 3),
    ]:
        assert len(found.without(found.matching(patterns), "asked").units) == left, patterns
    kept = found.without(found.matching(["stem/relu"]), "asked")
    assert kept.in_float == {0: "asked", 1: "asked"}
    with pytest.raises(QuantizationError, match=r"keep_float 'neck/\*': no node .* are stem/conv"):
        found.matching(["body/*", "neck/*"])


def test_what_moves_numbers_shares_their_parameters() -> None:
    found = scheme_of(
        f"({IMAGE} x) => (float[1,4,3,3] y, float[1,36] z) {{ v = Conv(x, w) "
        "y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(v) z = Flatten(y) }",
        w=normal(4, 4, 3, 3),
    )
    assert found.sources == {"x": "x", "v": "v", "y": "v", "z": "v"}
    assert found.calibrated == ("x", "v")


def test_a_pad_shares_parameters_only_with_zeros() -> None:
    body = f"({IMAGE} x) => (float[1,4,10,10] y) {{ v = Pad(x, p%s) y = MatMul(v, w) }}"
    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    shared = scheme_of(body % "", p=pads, w=normal(10, 10))
    assert shared.sources["v"] == "x"
    apart = scheme_of(body % ", c", p=pads, c=2.0, w=normal(10, 10))
    assert apart.sources["v"] == "v"


def test_softmax_and_sigmoid_have_fixed_ranges() -> None:
    found = scheme_of(
        "(float[2,8] x) => (float[2,3] y, float[2,3] z) "
        "{ v = MatMul(x, w) y = Softmax(v) z = Sigmoid(v) }",
        w=normal(8, 3),
    )
    assert found.fixed == {"y": (0.0, 255 / 256), "z": (0.0, 255 / 256)}
    assert found.calibrated == ("x", "v")


def test_values_that_subgraphs_read_are_read_in_float() -> None:
    model = parse(
        f"({IMAGE} x, bool c) => (float[1,4,4,4] y) {{ v = Conv(x, w) "
        "y = If (c) <then_branch = t () => (float[1,4,4,4] a) { a = Conv(v, w) }, "
        "else_branch = e () => (float[1,4,4,4] b) { b = MaxPool<kernel_shape=[3,3]>(v) }> }",
        w=normal(4, 4, 3, 3),
    )
    found = find_scheme(standard(model))
    assert isinstance(found.model, onnx.ModelProto)
    assert units(found) == [["Conv"]]
    assert "v" in found.read_in_float

"""The partitioner on whole graphs: claims, declines, borders and partitions."""

from dataclasses import dataclass

import onnx
import onnx.parser
import pytest

from furiosa_ep.graph import Graph
from furiosa_ep.partitioner.partition import collected_reports, partition_graph, partition_model
from furiosa_ep.partitioner.registry import Registry, Scope
from furiosa_ep.partitioner.report import Report
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit, OperatorSupport

from .graphs import CONSTANTS, graph, model, registry_of, types

POOLS = registry_of("MaxPool", "Tanh", "Reshape", "Add", "Chain")


def pool(x: str, y: str) -> str:
    return (
        f"{y}f = DequantizeLinear({x}, s, z) {y}p = MaxPool<kernel_shape=[1,1]>({y}f)"
        f"{y} = QuantizeLinear({y}p, s, z)"
    )


def unknown(x: str, y: str) -> str:
    return f"{y}f = DequantizeLinear({x}, s, z) {y}p = Det2({y}f) {y} = QuantizeLinear({y}p, s, z)"


def where(report: Report) -> dict[str, int | None]:
    """Partition by unit, named by the types of its nodes."""
    return {types(unit.nodes): unit.partition for unit in report.units}


def code(report: Report, label: str) -> DeclineCode:
    (found,) = (
        unit.decline.code
        for unit in report.units
        if unit.decline and label in (unit.label, unit.op_type)
    )
    return found


def test_a_supported_graph_is_one_partition_with_its_borders() -> None:
    body = "q = QuantizeLinear(x, s, z)" + pool("q", "a") + "y = DequantizeLinear(a, s, z)"
    report = partition_graph(graph(body, "float[1,2,4,4] x", "float[N,C,H,W] y"), POOLS)
    assert report.partitions == ((0, 1, 2, 3, 4),)
    assert report.summary() == ("FuriosaProvider: 3 of 3 node units (5 of 5 nodes) in 1 partition")


def test_a_declined_unit_in_the_middle_makes_two_partitions() -> None:
    report = partition_graph(graph(pool("x", "a") + unknown("a", "b") + pool("b", "y")), POOLS)
    assert report.partitions == ((0, 1, 2), (6, 7, 8))
    assert code(report, "Det2") == DeclineCode.NOT_REGISTERED
    assert [row.partition for row in report.rows] == [0] * 3 + [None] * 3 + [1] * 3


def test_a_declined_unit_in_a_branch_does_not_split_the_other_branch() -> None:
    body = pool("x", "a") + unknown("a", "b") + pool("a", "y")
    report = partition_graph(graph(body, outputs="uint8[N,C,H,W] y, uint8[N,C,H,W] b"), POOLS)
    assert report.partitions == ((0, 1, 2, 6, 7, 8),)


def test_a_graph_output_in_the_middle_does_not_end_a_partition() -> None:
    body = pool("x", "a") + pool("a", "y")
    report = partition_graph(graph(body, outputs="uint8[N,C,H,W] y, uint8[N,C,H,W] a"), POOLS)
    assert report.partitions == ((0, 1, 2, 3, 4, 5),)


def test_dequantize_before_a_float_operator_goes_with_the_partition() -> None:
    body = pool("x", "a") + "f = DequantizeLinear(a, s, z) y = Softmax(f)"
    report = partition_graph(graph(body, outputs="float[N,C,H,W] y"), POOLS)
    assert report.partitions == ((0, 1, 2, 3),)
    assert where(report) == {"DQ MaxPool Q": 0, "DQ": 0, "Softmax": None}


def test_dequantize_stays_with_operators_that_onnxruntime_fuses_it_with() -> None:
    body = pool("x", "a") + "f = DequantizeLinear(a, s, z) y = MatMul(f, f)"
    report = partition_graph(graph(body, outputs="float[N,C,H,W] y"), POOLS)
    assert where(report) == {"DQ MaxPool Q": 0, "DQ MatMul": None}


def test_borders_without_a_neighbour_are_not_worth_it() -> None:
    body = "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
    subject = graph(body, "float[1,2,4,4] x", "float[N,C,H,W] y")
    report = partition_graph(subject, POOLS)
    assert report.partitions == ()
    assert {row.code for row in report.rows} == {DeclineCode.COST}
    assert partition_graph(subject, POOLS, claim="all").partitions == ((0, 1),)


@pytest.mark.parametrize(("count", "claimed"), [(1, False), (2, True)])
def test_one_elementwise_operator_alone_is_not_worth_it(count: int, claimed: bool) -> None:
    body = "q0 = QuantizeLinear(x, s, z)"
    for step in range(count):
        body += f"""
            f{step} = DequantizeLinear(q{step}, s, z) t{step} = Tanh(f{step})
            q{step + 1} = QuantizeLinear(t{step}, s, z)
        """
    body += f"y = DequantizeLinear(q{count}, s, z)"
    report = partition_graph(graph(body, "float[1,2,4,4] x", "float[N,C,H,W] y"), POOLS)
    assert bool(report.partitions) == claimed


def test_a_scrap_beside_a_partition_is_not_taken_along() -> None:
    body = pool("x", "y") + "v = DequantizeLinear(k, s, z)"
    subject = graph(body, "uint8[1,2,4,4] x, uint8[9] k", "uint8[N,C,H,W] y, float[9] v")
    report = partition_graph(subject, POOLS)
    assert report.partitions == ((0, 1, 2),)
    assert code(report, "DequantizeLinear") == DeclineCode.COST


def test_quantize_of_a_late_float_input_is_in_the_partition_that_reads_it() -> None:
    body = (
        pool("x", "a") + unknown("a", "b") + "q = QuantizeLinear(k, s, z)"
        "d = DequantizeLinear(b, s, z) e = DequantizeLinear(q, s, z) m = Add(d, e)"
        "c = QuantizeLinear(m, s, z)" + pool("c", "y")
    )
    report = partition_graph(graph(body, "uint8[1,2,4,4] x, float[1,2,4,4] k"), POOLS)
    assert report.partitions == ((0, 1, 2), (6, 7, 8, 9, 10, 11, 12, 13))


SHAPED = (
    "sh = Shape(x) d = DequantizeLinear(a, s, z) r = Reshape(d, sh) y = QuantizeLinear(r, s, z)"
)


def test_shape_arithmetic_goes_with_its_reader() -> None:
    report = partition_graph(graph(pool("x", "a") + SHAPED, "uint8[N,2,4,4] x"), POOLS)
    assert report.partitions == (tuple(range(7)),)


def test_shape_arithmetic_with_a_reader_on_the_cpu_is_declined_with_its_other_readers() -> None:
    body = pool("x", "a") + SHAPED + "v = Det3(sh)"
    report = partition_graph(graph(body, "uint8[N,2,4,4] x", "uint8[N,C,H,W] y, int64[4] v"), POOLS)
    assert where(report) == {
        "DQ MaxPool Q": 0,
        "Shape": None,
        "DQ Reshape Q": None,
        "Det3": None,
    }
    assert code(report, "Reshape") == DeclineCode.DYNAMIC_SHAPE
    assert code(report, "Shape") == DeclineCode.NOT_QUANTIZED


def test_shape_arithmetic_alone_is_on_the_cpu() -> None:
    subject = graph("y = Shape(x)", outputs="int64[4] y")
    for claim in ("profitable", "all"):
        assert partition_graph(subject, POOLS, claim=claim).partitions == ()


def test_disabled_operators_stay_on_the_cpu() -> None:
    report = partition_graph(graph(pool("x", "y")), POOLS, disabled=["MaxPool"])
    assert report.partitions == ()
    assert code(report, "MaxPool") == DeclineCode.DISABLED_BY_OPTION


def test_control_flow_is_declined_and_the_rest_is_claimed() -> None:
    body = (
        pool("x", "a")
        + """
        y = If (k) <
            then_branch = yes () => (uint8[N,C,H,W] p) { p = Identity(a) },
            else_branch = no () => (uint8[N,C,H,W] q) { q = Identity(x) }
        >
    """
    )
    report = partition_graph(graph(body, "uint8[1,2,4,4] x, bool k"), POOLS)
    assert report.partitions == ((0, 1, 2),)
    assert code(report, "If") == DeclineCode.NO_KERNEL


def test_a_local_function_is_an_operator_that_nobody_registered() -> None:
    text = (
        '<ir_version: 9, opset_import: ["" : 21, "mine" : 1]> g (uint8[1,2,4,4] x) '
        f"=> (float[N,C,H,W] y) <{CONSTANTS}> {{ {pool('x', 'a')} y = mine.f(a) }} "
        '<domain: "mine", opset_import: ["" : 21]> f (p) => (q) { q = Cast<to=1>(p) }'
    )
    report = partition_graph(Graph.from_model(onnx.parser.parse_model(text)), POOLS)
    assert report.partitions == ((0, 1, 2),)
    assert code(report, "f") == DeclineCode.NOT_REGISTERED


@pytest.mark.parametrize("body", ["y = Exp(x)", "y = Identity(x)"])
def test_a_float_model_has_no_partition(body: str) -> None:
    report = partition_graph(graph(body, "float[4] x", "float[4] y"), POOLS)
    assert report.partitions == ()
    assert report.quantized_share == 1


def test_an_exception_in_a_lookup_declines_as_internal() -> None:
    class Broken(Registry):
        def support(
            self, unit: NodeUnit, graph: Graph, scope: Scope | None = None
        ) -> OperatorSupport | Decline:
            raise RuntimeError("oops")

    report = partition_graph(graph(pool("x", "y")), Broken(POOLS.operators))
    assert code(report, "MaxPool") == DeclineCode.INTERNAL


@dataclass(frozen=True)
class _Options:
    claim: str = "profitable"
    disabled_ops: frozenset[str] = frozenset()


def test_reports_are_collected_where_somebody_asks_for_them() -> None:
    with collected_reports() as reports:
        returned = partition_model(model(pool("x", "y")), _Options())
    assert reports == [returned]
    assert returned.partitions
    with collected_reports(decide_only=True) as reports:
        returned = partition_model(model(pool("x", "y")), _Options())
    assert returned.partitions == ()
    assert reports[0].partitions
    partition_model(model(pool("x", "y")), _Options())
    assert len(reports) == 1


def test_options_reach_the_decision() -> None:
    tanh = "f = DequantizeLinear(x, s, z) t = Tanh(f) y = QuantizeLinear(t, s, z)"
    assert not partition_model(model(tanh), _Options()).partitions
    assert partition_model(model(tanh), _Options(claim="all")).partitions
    disabled = _Options(claim="all", disabled_ops=frozenset({"Tanh"}))
    assert not partition_model(model(tanh), disabled).partitions


def test_ten_thousand_nodes_are_cut_where_the_npu_declines() -> None:
    body, last = [], "x"
    for step in range(3_300):
        maker = unknown if step % 10 == 9 else pool
        body.append(maker(last, f"v{step}"))
        last = f"v{step}"
    subject = graph("".join(body), outputs=f"uint8[N,C,H,W] {last}")
    assert len(partition_graph(subject, POOLS).partitions) == 330

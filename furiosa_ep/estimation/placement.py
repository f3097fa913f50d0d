"""What of a model the NPU runs, as Programs, and what is left to the host."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx

from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.compiler.errors import CompileError, InternalError
from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.estimation.floats import quantized_whole
from furiosa_ep.estimation.reading import read_light
from furiosa_ep.estimation.shapes import Shapes, enlarge, fix_shapes, is_open
from furiosa_ep.graph import Graph, Node
from furiosa_ep.options import Options
from furiosa_ep.partitioner.partition import collected_reports, partition_graph
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.registry import Scope
from furiosa_ep.partitioner.report import Report, UnitRow
from furiosa_ep.program import Program
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.loading import ModelLike, load_model
from furiosa_ep.quantization.prepare import QDQ, QUANTIZED_OPS

_WITH_WEIGHTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True)
class HostNode:
    """A node unit that ONNX Runtime runs on the host."""

    name: str
    op_type: str
    code: str
    """The decline code."""
    reason: str
    macs: int
    bytes: int
    """Of what it reads and writes, weights included, as far as their shapes are known."""


@dataclass(frozen=True)
class Placement:
    """Where each part of a model runs."""

    programs: tuple[Program, ...]
    """One for each partition."""
    inputs: tuple[str, ...]
    """Of the model."""
    host: tuple[HostNode, ...]
    batch: int
    quantized: bool
    """Whether the model is quantized; a float model is taken as if it were."""


def place(
    source: ModelLike, batch: int | None, shapes: Shapes, options: Mapping[str, str]
) -> Placement:
    """Quantize a float model with made-up numbers, partition it, and compile the partitions.

    Raises:
        EstimateError: for models that cannot be read, shapes that stay open or do not fit, and
            partitions that cannot be compiled.
    """
    light = read_light(source)
    try:
        if _is_quantized(light):
            return _place_quantized(source, light, batch, shapes, options)
        return _place_float(light, batch, shapes, options)
    except EstimateError:
        raise
    except QuantizationError as error:
        raise EstimateError(str(error)) from error
    except (CompileError, InternalError) as error:
        why = f"; the model may not be made for a batch of {batch}" if batch else ""
        raise EstimateError(f"{error}{why}") from error
    except ValueError as error:  # elements that do not fit their shape, text that is none
        raise EstimateError(f"not a valid ONNX model: {error}") from error


def _is_quantized(model: onnx.ModelProto) -> bool:
    """Whether the graph or a local function has operators on 8-bit values."""
    nodes = itertools.chain(model.graph.node, *(function.node for function in model.functions))
    return any(
        node.op_type in QDQ | QUANTIZED_OPS or node.op_type.startswith("QLinear") for node in nodes
    )


def _place_float(
    light: onnx.ModelProto, batch: int | None, shapes: Shapes, options: Mapping[str, str]
) -> Placement:
    trial, batch = quantized_whole(light, batch, shapes)
    report, scope = trial.report, _scope(options)
    if options.keys() - {"target"}:
        asked = Options.parse(options)
        report = partition_graph(
            trial.graph,
            registry(),
            claim=asked.claim,
            disabled=asked.disabled_ops,
            scope=scope,
        )
    nodes = trial.scheme.model.graph.node
    reasons = {
        name: reason
        for position, reason in trial.scheme.in_float.items()
        for name in nodes[position].output
    }
    programs = _compiled(trial.graph, report, scope)
    host = _on_host(trial.graph, report, reasons)
    return Placement(programs, trial.graph.inputs, host, batch, quantized=False)


def _place_quantized(
    source: ModelLike,
    light: onnx.ModelProto,
    batch: int | None,
    shapes: Shapes,
    options: Mapping[str, str],
) -> Placement:
    """As ONNX Runtime shows the model to the provider: after its own optimisations."""
    was_open = is_open(light)
    fixed = fix_shapes(light, batch, shapes)
    model = source
    if was_open or fixed.larger:
        whole = load_model(source)
        fix_shapes(whole, batch, shapes)
        model = enlarge(whole, fixed.larger) if fixed.larger else whole
    found: list[Placement | Exception] = []

    def compile_partitions(graph: Graph, report: Report, scope: Scope) -> None:
        try:
            programs = _compiled(graph, report, scope)
            host = _on_host(graph, report)
            found.append(Placement(programs, graph.inputs, host, fixed.batch, quantized=True))
        except Exception as error:  # told where it can be: ONNX Runtime has called this
            found.append(error)

    _show_to_provider(model, options, compile_partitions)
    if not found:
        raise EstimateError(
            "ONNX Runtime computes the model from constants: nothing is left to run"
        )
    # Functions before they are inlined come first.
    last = found[-1]
    if isinstance(last, Exception):
        raise last
    return last


def _show_to_provider(
    model: ModelLike,
    options: Mapping[str, str],
    visit: Callable[[Graph, Report, Scope], None],
) -> None:
    from furiosa_ep.explanation import decide

    try:
        with collected_reports(decide_only=True, visit=visit):
            decide(model, options)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise EstimateError(str(error)) from error


def _scope(options: Mapping[str, str]) -> Scope:
    asked = Options.parse(options)
    return Scope(target=asked.target, python_kernels=asked.python_kernels == "allow")


def _compiled(graph: Graph, report: Report, scope: Scope) -> tuple[Program, ...]:
    return tuple(
        CompiledPartition(graph.part(frozenset(indices)), scope=scope).build()
        for indices in report.partitions
    )


def _on_host(
    graph: Graph, report: Report, reasons: Mapping[str, str] = MappingProxyType({})
) -> tuple[HostNode, ...]:
    """What is in no partition; `reasons` are the quantizer's, by output, for what it has left."""
    left = (unit for unit in report.units if unit.partition is None)
    return tuple(_host_node(unit, graph, reasons) for unit in left)


def _host_node(unit: UnitRow, graph: Graph, reasons: Mapping[str, str]) -> HostNode:
    inside = {name for node in unit.nodes for name in node.outputs}
    read = {name for node in unit.nodes for name in node.inputs if name and name not in inside}
    written = {
        name
        for name in inside
        if name in graph.outputs or any(one not in unit.nodes for one in graph.consumers(name))
    }
    decline = unit.decline
    code, reason = (
        (decline.code.value, decline.reason) if decline else ("", "Arithmetic on shapes.")
    )
    known = next((reasons[name] for name in sorted(inside) if name in reasons), None)
    if known is not None:
        code, _, reason = known.partition(": ")
    return HostNode(
        unit.label,
        unit.op_type,
        code,
        reason,
        sum(_macs(node, graph) for node in unit.nodes),
        sum(_bytes(name, graph) for name in read | written),
    )


def _bytes(name: str, graph: Graph) -> int:
    known = graph.types.get(name)
    return 0 if known is None else known.size


def _elements(name: str, graph: Graph) -> int:
    """How many elements a value has; 0 where that is not known."""
    shape = graph.shape(name)
    dims = [dim for dim in shape or () if isinstance(dim, int)]
    return 0 if shape is None or len(dims) < len(shape) else math.prod(dims)


def _macs(node: Node, graph: Graph) -> int:
    if node.domain or node.op_type not in _WITH_WEIGHTS:
        return 0
    weights = graph.shape(node.input(1)) or ()
    known = [dim for dim in weights if isinstance(dim, int)]
    if len(known) < len(weights) or len(known) < 2:
        return 0
    match node.op_type:
        case "Conv":
            return _elements(node.outputs[0], graph) * math.prod(known[1:])
        case "ConvTranspose":
            return _elements(node.input(0), graph) * math.prod(known[1:])
    depth = known[-1] if node.op_type == "Gemm" and node.attributes.get("transB") else known[-2]
    return _elements(node.outputs[0], graph) * depth

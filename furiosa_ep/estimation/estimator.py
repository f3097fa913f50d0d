"""`estimate`: a model in, what it would take on a real device out."""

from collections.abc import Iterable, Mapping, Sequence

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.device_emulator.timing import BorderWork, border_work, schedule_program
from furiosa_ep.estimation import host
from furiosa_ep.estimation.confidence import confidence
from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.estimation.figures import (
    ENTERING,
    LEAVING,
    Bound,
    Energy,
    Estimate,
    Layer,
    Memory,
    Run,
)
from furiosa_ep.estimation.layers import npu_layers
from furiosa_ep.estimation.placement import HostNode, Placement, place
from furiosa_ep.options import OptionError, Options
from furiosa_ep.partitioner.plugins import check_offered, registry
from furiosa_ep.quantization.loading import ModelLike

IDLE_WATTS = (1.0, 3.0)
TDP_WATTS = (40.0, 60.0)
"""Of the card; the thermal design power is configured between these."""


def estimate(
    model: ModelLike,
    target: str = "warboy",
    batch: int | None = None,
    workers: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    devices: int = 1,
    float_inputs: bool = False,
    options: Mapping[str, str] | None = None,
) -> Estimate:
    """Tell what a model would take on a real device, without one and without running the model.

    A quantized model is partitioned as in a session, after ONNX Runtime's basic optimisations. A
    float model is estimated as if it were quantized whole, and its inputs were bytes: nothing is
    calibrated, weights are not read and need not be there. Partitions are compiled and scheduled;
    what stays on the host is estimated roughly. docs/estimate.md says what each figure is based on.

    Args:
        model: a path, the bytes of a model, or a ModelProto.
        target: what a session takes as its option `target`: `warboy`, `warboy-2pe`, or a plugin's.
        batch: samples of one inference; by default the model's, or 1 where it leaves that open.
        workers: inferences under way at a time. With one, nothing overlaps.
        shapes: those of inputs, where the model leaves them open.
        devices: targets that work in parallel, like the 2 single processing elements of a card.
        float_inputs: whether float inputs of a float model are quantized on the host, which takes
            it long.
        options: other provider options, such as `claim`.

    Raises:
        EstimateError: where there is no model, its shapes stay open or do not fit, there is no such
            target or option, or ONNX Runtime does not take the model.
    """
    known: Mapping[str, Target] = registry().named("furiosa_targets")
    if target not in known:
        raise EstimateError(f"no target {target!r}: expected one of {', '.join(known)}")
    for name, value in (
        ("batch", 1 if batch is None else batch),
        ("workers", workers),
        ("devices", devices),
    ):
        if value < 1:
            raise EstimateError(f"{name} {value}: expected 1 or more")
    given = {**(options or {}), "target": target}
    try:
        check_offered(Options.parse(given))
    except OptionError as error:
        raise EstimateError(str(error)) from error
    placement = place(model, batch, shapes or {}, given)
    as_bytes = () if placement.quantized or float_inputs else placement.inputs
    return _estimate(placement, known[target], workers, devices, as_bytes)


def _estimate(
    placement: Placement, target: Target, workers: int, devices: int, as_bytes: Sequence[str]
) -> Estimate:
    runs = tuple(
        Run(one, schedule_program(one, target, as_bytes=as_bytes)) for one in placement.programs
    )
    works = [work for one in placement.programs for work in border_work(one, as_bytes)]
    npu = sum(run.schedule.cycles for run in runs) / target.clock_hz
    transfer = sum(work.bytes for work in works) / target.pcie_bytes_per_second
    on_host = (
        len(runs) * host.RUN_SECONDS
        + sum(work.host_seconds for work in works)
        + sum(map(host.node_seconds, placement.host))
    )
    layers = [layer for run in runs for layer in npu_layers(run)]
    macs = sum(layer.macs for layer in layers)
    layers = [
        *_border_layers([work for work in works if work.entering], ENTERING, target),
        *layers,
        *_border_layers([work for work in works if not work.entering], LEAVING, target),
        *map(_host_layer, placement.host),
    ]
    latency = npu + transfer + on_host
    slowest = max(npu, transfer * devices, latency / workers)
    possible = npu * target.clock_hz * target.macs_per_cycle * target.pes
    return Estimate(
        target=target.name,
        pes=target.pes,
        devices=devices,
        batch=placement.batch,
        workers=workers,
        quantized=placement.quantized,
        npu_latency_ms=1e3 * (npu + transfer),
        transfer_ms=1e3 * transfer,
        host_ms=1e3 * on_host,
        latency_ms=1e3 * latency,
        throughput_per_s=devices * placement.batch / slowest if slowest else 0.0,
        npu_throughput_per_s=devices * placement.batch / npu if npu else 0.0,
        utilization=macs / possible if possible else 0.0,
        macs=macs,
        energy=_energy(npu, latency),
        memory=_memory(runs, target),
        confidence=confidence(placement, target, layers, runs),
        layers=tuple(layers),
        host_nodes=placement.host,
        runs=runs,
    )


def _energy(npu: float, latency: float) -> Energy:
    least, most = IDLE_WATTS
    busy = [watts * npu + most * (latency - npu) for watts in TDP_WATTS]
    return Energy(1e3 * least * latency, *(1e3 * one for one in busy))


def _memory(runs: Iterable[Run], target: Target) -> Memory:
    schedules = [run.schedule for run in runs]
    peaks = (one.address + one.size for schedule in schedules for one in schedule.allocations)
    return Memory(
        dram=sum(one.dram_bytes for one in schedules),
        dram_limit=target.dram_bytes,
        sram_peak=max(peaks, default=0),
        sram_limit=target.sram_bytes * target.pes,
        instructions=sum(one.instruction_bytes for one in schedules),
        instructions_limit=target.instruction_bytes,
    )


def _border_layers(works: Iterable[BorderWork], op: str, target: Target) -> Iterable[Layer]:
    for work in works:
        yield Layer(work.name, op, 1e3 * work.host_seconds, Bound.HOST)
        ms = 1e3 * work.bytes / target.pcie_bytes_per_second
        yield Layer(work.name, "Transfer", ms, Bound.IO)


def _host_layer(node: HostNode) -> Layer:
    ms = 1e3 * host.node_seconds(node)
    return Layer(
        node.name, node.op_type, ms, Bound.HOST, node.macs, code=node.code, reason=node.reason
    )

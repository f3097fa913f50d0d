"""How near a model is to those that the models of time were fitted to."""

from collections.abc import Sequence

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.estimation.figures import Bound, Confidence, Layer, Run
from furiosa_ep.estimation.placement import Placement
from furiosa_ep.partitioner.environment import BUILT_IN

_PUBLISHED_OPS = frozenset(
    {"Add", "AveragePool", "Conv", "Copy", "Fill", "GlobalAveragePool", "MaxPool", "Mul"}
    | {"ResizeNearest", "Softmax"}
)
"""What the networks consist of whose times have been published (`kind`)."""
HIGH_SHARE = 0.9
"""The part of the NPU's time that high confidence takes in operators of the published models."""
MEDIUM_SHARE = 0.6
SPILLED_BYTES = 2 << 20
"""Activations that do not fit into SRAM; one published model has 1.5 MiB of them."""
SMALLEST_MACS, LARGEST_MACS = 0.5e9, 300e9
"""The multiplications of the published models, for an inference of the batch."""


def confidence(
    placement: Placement, target: Target, layers: Sequence[Layer], runs: Sequence[Run]
) -> dict[str, Confidence]:
    """The class of each figure; the weakest thing that it depends on decides."""
    npu = _npu(target, layers, runs)
    whole = _weaker(npu, Confidence.MEDIUM)
    if placement.host:
        whole = Confidence.LOW
    return {
        "npu_latency_ms": npu,
        "npu_throughput_per_s": npu,
        "utilization": npu,
        "latency_ms": whole,
        "throughput_per_s": whole,
        "energy": Confidence.LOW,
        "memory": Confidence.MEDIUM if npu is not Confidence.LOW else Confidence.LOW,
        "layers": _weaker(npu, Confidence.MEDIUM),
    }


def _npu(target: Target, layers: Sequence[Layer], runs: Sequence[Run]) -> Confidence:
    if target.owner not in ("", BUILT_IN):
        return Confidence.LOW
    own = [layer for layer in layers if layer.bound not in (Bound.HOST, Bound.IO)]
    total = sum(layer.ms for layer in own)
    if not total:
        return Confidence.LOW
    share = sum(layer.ms for layer in own if layer.op in _PUBLISHED_OPS) / total
    macs = sum(layer.macs for layer in own)
    usual = SMALLEST_MACS <= macs <= LARGEST_MACS and len(runs) == 1
    if share >= HIGH_SHARE and usual and not any(map(_spills, runs)):
        return Confidence.HIGH
    return Confidence.MEDIUM if share >= MEDIUM_SHARE else Confidence.LOW


def _spills(run: Run) -> bool:
    """Whether more goes to DRAM and back than in any published model."""
    return run.schedule.spilled_bytes > SPILLED_BYTES


def _weaker(one: Confidence, other: Confidence) -> Confidence:
    order = list(Confidence)
    return max(one, other, key=order.index)

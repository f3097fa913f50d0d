"""An estimate as text for people."""

from collections.abc import Iterable, Sequence

from furiosa_ep.estimation.figures import ENTERING, Bound, Estimate, Layer

_BESIDE = (Bound.HOST, Bound.IO)
_LONGEST_NAME = 44
_MUCH = 0.3
"""The part of the latency from which on an input deserves a hint."""


def table(estimate: Estimate, most_layers: int | None) -> str:
    """The figures, what stays on the host, and the layers that take longest.

    All layers in their order where `most_layers` is None; none where it is 0.
    """
    lines = [*_figures(estimate), *_host(estimate), *_hint(estimate)]
    if most_layers != 0:
        lines += ["", *_layers(estimate, most_layers)]
    return "\n".join(lines)


def _figures(one: Estimate) -> Iterable[str]:
    sure = one.confidence
    work = [f"batch {one.batch}", f"{one.workers} worker{'s' if one.workers > 1 else ''}"]
    if one.devices > 1:
        work.insert(0, f"{one.devices} in parallel")
    source = "quantized" if one.quantized else "float, as if it were quantized whole"
    yield f"target       {one.target}, {', '.join(work)}"
    yield f"model        {source}; {_count(one.macs)} multiplications on the NPU"
    yield _row("NPU latency", f"{one.npu_latency_ms:.3f} ms", sure["npu_latency_ms"])
    npu = one.npu_latency_ms - one.transfer_ms
    parts = f"NPU {npu:.3f} + host {one.host_ms:.3f} + PCIe {one.transfer_ms:.3f}"
    yield _row("latency", f"{one.latency_ms:.3f} ms", sure["latency_ms"], parts)
    more = f"{one.npu_throughput_per_s:.1f} where the host keeps up"
    yield _row("throughput", f"{one.throughput_per_s:.1f} /s", sure["throughput_per_s"], more)
    yield _row("utilization", f"{one.utilization:.1%}", sure["utilization"])
    energy = f"{one.energy.least_mj:.1f} to {one.energy.most_mj:.1f} mJ"
    yield _row("energy", energy, sure["energy"])
    memory = one.memory
    instructions = f"instructions {size(memory.instructions)} of {size(memory.instructions_limit)}"
    if memory.instructions > memory.instructions_limit:
        instructions += ", loaded in parts"
    yield (
        f"memory       DRAM {size(memory.dram)} of {size(memory.dram_limit)}, "
        f"SRAM {size(memory.sram_peak)} of {size(memory.sram_limit)}, {instructions}"
    )


def _row(name: str, figure: str, confidence: str, more: str = "") -> str:
    more = f"  ({more})" if more else ""
    return f"{name:<12} {figure:<16} {confidence} confidence{more}"


def _host(one: Estimate) -> Iterable[str]:
    alike: dict[tuple[str, str], list[str]] = {}
    for node in one.host_nodes:
        alike.setdefault((node.op_type, node.code), []).append(node.reason)
    for (op_type, code), reasons in alike.items():
        yield f"host         {len(reasons)} x {op_type} ({code}): {reasons[0]}"


def _hint(one: Estimate) -> Iterable[str]:
    """What to do where quantizing float inputs is much of the time."""
    slow = [
        layer.name
        for layer in one.layers
        if layer.op == ENTERING and layer.ms > _MUCH * one.latency_ms
    ]
    if slow:
        yield (
            f"hint         the host quantizes {', '.join(slow)}: floats take long; let inputs be "
            "bytes (furiosa quantize --input-type)"
        )


def _layers(one: Estimate, most: int | None) -> Iterable[str]:
    layers: Sequence[Layer] = one.layers
    if most is not None:
        layers = sorted(layers, key=lambda layer: -layer.ms)[:most]
        if len(layers) < len(one.layers):
            yield f"the {len(layers)} of {len(one.layers)} layers that take longest:"
    width = min(max((len(layer.name) for layer in layers), default=4), _LONGEST_NAME)
    kinds = max((len(layer.op) for layer in layers), default=2)
    yield (
        f"{'layer':<{width}}  {'op':<{kinds}}  {'ms':>8}  {'share':>6}  {'MACs':>7}  "
        f"{'util.':>6}  {'DRAM':>9}  bound by"
    )
    for layer in layers:
        beside = layer.bound in _BESIDE
        yield (
            f"{_shortened(layer.name, width):<{width}}  {layer.op:<{kinds}}  {layer.ms:8.4f}  "
            f"{layer.ms / one.latency_ms:6.1%}  "
            f"{_count(layer.macs) if layer.macs else '':>7}  "
            f"{'' if beside else f'{layer.utilization:.1%}':>6}  "
            f"{size(layer.dram_bytes) if layer.dram_bytes else '':>9}  {layer.bound}"
        ).rstrip()


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else f"...{name[3 - width :].lstrip('.')}"


def _count(number: float) -> str:
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}T"


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"

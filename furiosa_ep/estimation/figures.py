"""What an estimate consists of."""

import dataclasses
import enum
import json
from dataclasses import dataclass
from typing import Any

from furiosa_ep.device_emulator.timing import Schedule
from furiosa_ep.estimation.placement import HostNode
from furiosa_ep.program import Program

ENTERING, LEAVING = "Quantize, Lower", "Unlower, Dequantize"
"""What the host does to tensors that enter and leave the NPU."""


class Confidence(enum.StrEnum):
    """How near a figure is to what the models of time were fitted to (docs/estimate.md)."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Bound(enum.StrEnum):
    """What a layer would be faster with more of."""

    COMPUTE = "compute"
    """Multipliers."""
    SRAM = "sram"
    """Bandwidth between SRAM and the multipliers."""
    DRAM = "dram"
    """Bandwidth of DRAM: it waits for weights or for what was spilled."""
    OVERHEAD = "overhead"
    """Nothing of this: the time that every command takes."""
    HOST = "host"
    IO = "io"


@dataclass(frozen=True)
class Layer:
    """A command of the NPU, or a piece of work beside it, in the order in which they run."""

    name: str
    """The ONNX nodes that it came from."""
    op: str
    """The kind of command, like Conv; what the host does, like Quantize, or the ONNX operator."""
    ms: float
    """From the end of the one before to its own end."""
    bound: Bound
    macs: int = 0
    utilization: float = 0.0
    """The part of the multiplications that were possible in this time."""
    dram_bytes: int = 0
    """What is loaded from DRAM, or stored, for it."""
    code: str = ""
    """Of what the host runs of the model itself: the decline code and the reason."""
    reason: str = ""


@dataclass(frozen=True)
class Energy:
    """Bounds of what the card takes for one inference, in millijoule."""

    least_mj: float
    """At the power of an idle card."""
    tdp_40w_mj: float
    """At the lowest thermal design power while the NPU runs, otherwise idle."""
    most_mj: float
    """At the highest one."""


@dataclass(frozen=True)
class Memory:
    """What the model needs on the device, and what there is, in bytes."""

    dram: int
    dram_limit: int
    sram_peak: int
    sram_limit: int
    instructions: int
    instructions_limit: int
    """What exceeds it is loaded while the program runs, a part at a time."""


@dataclass(frozen=True)
class Run:
    """A Program and its schedule."""

    program: Program
    schedule: Schedule


@dataclass(frozen=True)
class Estimate:
    """What a model takes on a real device, as far as the models of time can tell."""

    target: str
    pes: int
    """Processing elements that work as one."""
    devices: int
    """How many such targets work in parallel."""
    batch: int
    workers: int
    """Inferences under way at a time, on each of them."""
    quantized: bool
    """Whether the model was; a float model is estimated as if it were quantized whole."""
    npu_latency_ms: float
    """One inference of the batch: inputs and outputs over PCI Express, compute and DMA."""
    transfer_ms: float
    """The part of it that goes over PCI Express."""
    host_ms: float
    """Quantize, Lower, Unlower, Dequantize, and the nodes that stay on the host."""
    latency_ms: float
    """NPU and host, one after the other."""
    throughput_per_s: float
    """Samples."""
    npu_throughput_per_s: float
    """Samples, where the host keeps up, as in the Offline scenario of MLPerf."""
    utilization: float
    """The part of the multiplications that were possible while the NPU runs."""
    macs: int
    """Of one inference of the batch, on the NPU."""
    energy: Energy
    memory: Memory
    confidence: dict[str, Confidence]
    """By figure."""
    layers: tuple[Layer, ...]
    host_nodes: tuple[HostNode, ...]
    runs: tuple[Run, ...] = dataclasses.field(repr=False)
    """What the memory report shows; not part of the JSON."""

    def to_json(self) -> str:
        """A JSON object (docs/estimate.md)."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """What the JSON object has."""
        shown = dataclasses.replace(self, runs=())
        found = dataclasses.asdict(shown)
        del found["runs"]
        return found

    def table(self, *, layers: int | None = 10) -> str:
        """For people: the figures, and the layers that take longest (None: all, in order)."""
        from furiosa_ep.estimation.table import table

        return table(self, layers)

    def memory_report(self, title: str = "") -> str:
        """A page that stands alone (HTML): what lies where in SRAM when, and what is computed."""
        from furiosa_ep.estimation.memory import page_of

        return page_of(self, title)

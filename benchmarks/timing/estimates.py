"""What `furiosa estimate` itself says of published figures."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

from benchmarks.timing.figures import Figure, Measured, MultiStream
from benchmarks.timing.fit import QUERY_MILLISECONDS, TARGETS, Row
from benchmarks.timing.networks import Networks
from furiosa_ep.estimation import Estimate, estimate


class Work(NamedTuple):
    """What is estimated."""

    network: str
    pes: int
    batch: int = 1
    float_inputs: bool = False
    decoding: bool = True
    """Whether detectors of the YOLO family keep what decodes boxes."""

    @classmethod
    def of(cls, figure: Figure, *, decoding: bool = True) -> "Work":
        """What a figure tells the time of."""
        return cls(figure.network, figure.pes, figure.batch, figure.float_inputs, decoding)


class Together(NamedTuple):
    """What a query of MLPerf's multi-stream scenario would take, in milliseconds."""

    published: MultiStream
    one_batch: float
    """Its 8 samples as a batch on fused PEs."""
    singly: float
    """One after the other on fused PEs."""
    halves: float
    """As a batch of 4 on each PE."""


class Estimates:
    """Estimates of networks, each made once."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._estimate: Callable[[Work], Estimate] = cache(self._made)

    def npu_rows(self, figures: Iterable[Figure]) -> list[Row]:
        """Figures of the NPU's time beside those of the models as they are exported."""
        return [Row(one, self._npu_milliseconds(one)) for one in figures]

    def latency_rows(self, figures: Iterable[Figure], *, decoding: bool) -> list[Row]:
        """Latencies beside the estimated ones."""
        return [
            Row(one, self._estimate(Work.of(one, decoding=decoding)).latency_ms) for one in figures
        ]

    def together(self, published: MultiStream) -> Together:
        """What a query of 8 samples would take."""

        def task(batch: int, pes: int) -> float:
            return self._estimate(Work(published.network, pes, batch)).npu_latency_ms

        times = (task(8, 2), 8 * task(1, 2), task(4, 1))
        return Together(published, *(one + QUERY_MILLISECONDS for one in times))

    def _npu_milliseconds(self, figure: Figure) -> float:
        found = self._estimate(Work.of(figure))
        beside = found.transfer_ms if figure.measured is Measured.RUN else 0.0
        return found.npu_latency_ms - beside

    def _made(self, work: Work) -> Estimate:
        model = self._networks.model(work.network, work.batch, decoding=work.decoding)
        return estimate(model, TARGETS[work.pes].name, float_inputs=work.float_inputs)

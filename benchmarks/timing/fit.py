"""The model's figures beside the published ones, and the parameters that fit best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, log

from benchmarks.timing.figures import Figure, Measured
from benchmarks.timing.networks import Networks
from furiosa_ep.device_emulator.target import WARBOY, WARBOY_2PE
from furiosa_ep.device_emulator.timing import PARAMETERS, Parameters, schedule_program
from furiosa_ep.program import Engine

FITTED = ("command_cycles", "multiply_cycles", "exchange", "rearrange_bytes_per_cycle")
QUERY_MILLISECONDS = 0.1
"""What the load generator, the driver and the decoding of results add to a query of MLPerf."""
TARGETS = {1: WARBOY, 2: WARBOY_2PE}
"""By the number of PEs that work as one."""

Predict = Callable[[Figure, Parameters], float]


@dataclass(frozen=True)
class Row:
    """A published time and the model's, in milliseconds."""

    figure: Figure
    predicted: float

    @property
    def error(self) -> float:
        """How much longer the model takes: 0.1 is 10 %."""
        return self.predicted / self.figure.milliseconds - 1


def predictor(networks: Networks) -> Predict:
    """Tells what a figure should be, in milliseconds."""

    def predict(figure: Figure, parameters: Parameters) -> float:
        target = TARGETS[figure.pes]
        program = networks.program(figure.network, figure.batch)
        schedule = schedule_program(program, target, parameters)
        cycles = schedule.cycles
        if figure.measured is not Measured.RUN:
            cycles += schedule.busy(Engine.IO)
        more = QUERY_MILLISECONDS if figure.measured is Measured.QUERY else 0.0
        return 1e3 * cycles / target.clock_hz + more

    return predict


def rows(
    figures: Sequence[Figure], predict: Predict, parameters: Parameters = PARAMETERS
) -> list[Row]:
    """All figures beside the model's."""
    return [Row(figure, predict(figure, parameters)) for figure in figures]


def fit(figures: Sequence[Figure], predict: Predict, start: Parameters = PARAMETERS) -> Parameters:
    """The parameters with the least loss: each in turn, by steps that become smaller."""
    best, least = start, loss(rows(figures, predict, start))
    step = 0.16
    while step > 0.004:
        improved = False
        for name in FITTED:
            for factor in (1 + step, 1 / (1 + step)):
                other = best._replace(**{name: getattr(best, name) * factor})
                found = loss(rows(figures, predict, other))
                if found < least:
                    best, least, improved = other, found, True
        step = step if improved else step / 2
    return best


def loss(found: Sequence[Row]) -> float:
    """The sum of squared logarithms of ratios; large ones, which are outliers, count linearly."""
    ratios = [log(1 + row.error) / 0.1 for row in found]
    return sum(2 * (hypot(1, ratio) - 1) for ratio in ratios)


def across_families(figures: Sequence[Figure], predict: Predict) -> list[Row]:
    """Each family of networks as predicted by parameters that are fitted to all others."""
    found = []
    for family in dict.fromkeys(figure.family for figure in figures):
        others = [figure for figure in figures if figure.family != family]
        own = [figure for figure in figures if figure.family == family]
        found += rows(own, predict, fit(others, predict))
    return found


@dataclass(frozen=True)
class Quality:
    """How near the model is to the figures."""

    mean: float
    """The mean of the errors without their signs."""
    most: float
    """The largest of them."""
    rank: float
    """Spearman's coefficient of the order of the times."""

    @classmethod
    def of(cls, found: Sequence[Row]) -> "Quality":
        """That of some rows."""
        errors = [abs(row.error) for row in found]
        published = _ranks([row.figure.milliseconds for row in found])
        predicted = _ranks([row.predicted for row in found])
        count = len(found)
        apart = sum((one - other) ** 2 for one, other in zip(published, predicted, strict=True))
        rank = 1 - 6 * apart / (count * (count**2 - 1)) if count > 1 else 1.0
        return cls(sum(errors) / count, max(errors), rank)


def fused_ratios(found: Sequence[Row]) -> Mapping[str, tuple[float, float]]:
    """By network, fused time over single, as published and as predicted."""
    times = {(row.figure.network, row.figure.batch, row.figure.pes): row for row in found}
    ratios = {}
    for (network, batch, pes), fused in times.items():
        single = times.get((network, batch, 1))
        if pes == 2 and single is not None and single.figure.measured is fused.figure.measured:
            ratios[network] = (
                fused.figure.milliseconds / single.figure.milliseconds,
                fused.predicted / single.predicted,
            )
    return ratios


def _ranks(values: Sequence[float]) -> list[int]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0] * len(values)
    for rank, position in enumerate(order):
        ranks[position] = rank
    return ranks
